/**
 * Instances that stop in the middle of a leg without breaking its connection: another way is taken within about a second, long before
 * any deadline. One that is only slow is waited for.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { explainRecord, type RequestRecord } from '../../src/router/index.ts';
import { type Json, type Streamed, until } from './router-fixture.ts';
import { NixlBed } from './router-nixl-fixture.ts';
import { type Mishap, NONE, type ScriptedVllm } from './vllm-script.ts';

const PATH = '/v1/completions';
const GREEDY = { temperature: 0, max_tokens: 12 };
/** Far beyond what these tests wait for. */
const LONG_MS = 20_000;
const DEADLINES = { prefillMs: LONG_MS, pullMs: LONG_MS, firstTokenMs: LONG_MS, idleMs: LONG_MS, totalMs: 2 * LONG_MS };
/** From the last sign of life: a second of silence, two ticks, and a busy machine. */
const NOTICED_MS = 4_000;

let bed: NixlBed;

async function start(prefill: number, decode: number, prepare: (engine: ScriptedVllm) => void = () => undefined): Promise<void> {
  bed = await NixlBed.start({ prefill, decode }, { deadlines: DEADLINES }, prepare);
  bed.heal();
}

afterEach(async () => {
  try {
    for (const engine of bed.engines) engine.thaw();
    await bed.nothingLeft();
    expect(bed.deaths).toEqual([]);
  } finally {
    await bed.close();
  }
});

interface Told {
  readonly struck: Streamed;
  readonly record: RequestRecord;
  readonly attempts: RequestRecord['attempts'];
}

/** What becomes of a request when the first instance with such a leg has the mishap, and its text beside that of one well instance. */
async function strike(leg: 'prefill' | 'decode' | 'any', mishap: Mishap, change: Json = {}): Promise<Told> {
  const body = { prompt: bed.prompt(), ...GREEDY, ...change };
  const well = await bed.alone(PATH, body);
  bed.strike(leg, mishap);
  const struck = await bed.stream(PATH, body);
  expect(struck).toMatchObject({ status: 200, text: well.text, done: true, broken: false });
  const record = await bed.record(struck.requestId);
  return { struck, record, attempts: record.attempts };
}

describe('an instance that stops', () => {
  it.each([
    ['prefill', { kind: 'freeze', bytes: 0 }, /^the instance was silent for \d\.\d s during prefill$/],
    ['decode', { kind: 'freeze', bytes: 0 }, /^the instance was silent for \d\.\d s before the first token$/],
    ['prefill', { kind: 'stick' }, /^the engine was, as its agent says, silent for \d\.\d s during prefill$/],
    ['decode', { kind: 'stick' }, /^the engine was, as its agent says, silent for \d\.\d s before the first token$/],
  ] as const)('in a %s leg (%o) is given up, cancelled first', async (leg, mishap, why) => {
    await start(2, 2);
    const { record, attempts } = await strike(leg, mishap);
    expect(attempts).toHaveLength(2);
    expect(attempts[0]?.error).toMatch(why);
    // An engine behind an agent that lives is given three seconds.
    expect(attempts[1]?.atMs).toBeLessThan(NOTICED_MS + (mishap.kind === 'stick' ? 2_000 : 0));
    expect(attempts[1]?.decision.chosen[leg]).not.toBe(attempts[0]?.decision.chosen[leg]);
    expect(record).toMatchObject({ outcome: 'ok', resumes: 0 });
    const legs = bed.asked(leg);
    expect(legs).toHaveLength(2);
    await until(() => legs.filter(({ cancelled }) => cancelled).length === 1);
    expect(explainRecord(record)).toContain(`lost: ${attempts[0]?.error}`);
  });

  it('gets no other request until it goes on', async () => {
    await start(2, 2);
    await strike('prefill', { kind: 'freeze', bytes: 0 });
    const frozen = bed.engines.find((engine) => engine.frozen);
    const before = frozen?.asked.length;
    for (let times = 0; times < 4; times += 1) expect((await bed.post(PATH, { prompt: bed.prompt(), ...GREEDY })).status).toBe(200);
    expect(frozen?.asked).toHaveLength(before ?? -1);
    for (const engine of bed.engines) engine.mishap = () => NONE;
    frozen?.thaw();
    await until(async () => {
      await bed.post(PATH, { prompt: bed.prompt(), ...GREEDY });
      return (frozen?.asked.length ?? 0) > (before ?? 0);
    });
  });

  it('between two tokens is given up, and the stream goes on', async () => {
    await start(1, 2);
    const { record, attempts } = await strike('any', { kind: 'freeze', bytes: 900 });
    expect(record).toMatchObject({ outcome: 'ok', resumes: 1 });
    expect(attempts[0]?.error).toMatch(/^the instance was silent for \d\.\d s between two tokens$/);
    expect(attempts[1]?.atMs).toBeLessThan(NOTICED_MS);
  });

  it('between two tokens of a stream that nobody else could go on with is waited for', async () => {
    await start(1, 2);
    setTimeout(() => bed.engines.find((engine) => engine.frozen)?.thaw(), 2_500);
    const { record, attempts } = await strike('any', { kind: 'freeze', bytes: 900 }, { temperature: 0.9 });
    expect(attempts).toHaveLength(1);
    expect(record).toMatchObject({ outcome: 'ok', resumes: 0 });
    expect(record['totalMs']).toBeGreaterThan(1_500);
  });

  it('is waited for when there is no other', async () => {
    await start(1, 1);
    setTimeout(() => bed.engines.find((engine) => engine.frozen)?.thaw(), 2_500);
    const { record, attempts } = await strike('decode', { kind: 'freeze', bytes: 0 });
    expect(attempts).toHaveLength(1);
    expect(record['totalMs']).toBeGreaterThan(1_500);
  });

  it('does not hold a probe for long', async () => {
    await start(1, 1);
    const [prefill] = bed.of('prefill');
    const [decode] = bed.of('decode');
    if (!prefill || !decode) throw new Error('no instances');
    let frozenAt = 0;
    prefill.mishap = ({ probe }) => {
      if (!probe) return NONE;
      frozenAt = performance.now();
      return { kind: 'freeze', bytes: 0 };
    };
    await until(() => prefill.frozen);
    await until(() => decode.asked.some(({ probe, leg }) => probe && leg === 'alone'));
    expect(performance.now() - frozenAt).toBeLessThan(NOTICED_MS);
  });
});

describe('an instance that is slow', () => {
  it('is waited for', async () => {
    await start(2, 2);
    const { attempts } = await strike('prefill', { kind: 'slow', ms: 4_000 });
    expect(attempts).toHaveLength(1);
  });

  it('is waited for much longer when prompts take long there', async () => {
    // Predicted 1.8 s; nobody has measured it.
    await start(2, 2);
    const { attempts } = await strike('prefill', { kind: 'slow', ms: 7_000 });
    expect(attempts).toHaveLength(1);
  });

  it('is given up when it takes many times longer than predicted', async () => {
    await start(2, 2, (engine) => {
      engine.tokenMs = 0.1;
    });
    const { record, attempts } = await strike('prefill', { kind: 'slow', ms: 9_000 });
    expect(attempts).toHaveLength(2);
    expect(attempts[0]?.error).toMatch(/^prefill was not done after 5\.\d s, predicted 0\.\d s$/);
    expect(bed.asked('prefill').map(({ cancelled }) => cancelled)).toContain(true);
    expect(record).toMatchObject({ outcome: 'ok' });
  });
});

describe('a router that stands still', () => {
  /** Nothing in this process runs, its engines neither. */
  function standStill(ms: number): void {
    const end = performance.now() + ms;
    while (performance.now() < end);
  }

  it.each(['prefill', 'decode'] as const)('does not take it for the silence of an instance, in a %s leg', async (leg) => {
    await start(2, 2);
    const well = await bed.alone(PATH, { prompt: 'x', ...GREEDY });
    expect(well.status).toBe(200);
    const prompt = bed.prompt();
    const feeds = bed.engines.map((engine) => engine.feeds);
    for (const engine of bed.engines) {
      engine.mishap = (asked) => {
        if (asked.probe || asked.leg !== leg) return NONE;
        setImmediate(() => standStill(6_000));
        return leg === 'prefill' ? { kind: 'slow', ms: 10 } : NONE;
      };
    }
    const { requestId } = await bed.stream(PATH, { prompt, ...GREEDY });
    const { attempts, outcome } = await bed.record(requestId);
    expect([outcome, attempts.map(({ error }) => error)]).toEqual(['ok', [null]]);
    expect(bed.engines.map((engine) => engine.feeds)).toEqual(feeds);
  });
});

describe('the lease of what a prefill instance keeps', () => {
  it.each([
    ['shorter than the way of its answer', 1_200, 2],
    ['as long as usual', 30_000, 1],
    ['longer', 120_000, 1],
    ['unknown: as short as any can be', null, 2],
  ])('%s', async (_what, leaseMs, tries) => {
    await start(2, 1, (engine) => {
      engine.leaseMs = leaseMs;
    });
    const { attempts } = await strike('prefill', { kind: 'late', ms: 900 });
    expect(attempts).toHaveLength(tries);
    if (tries > 1) expect(attempts[0]?.error).toMatch(/^prefill failed: its hand-off is \d+ ms old, and usable for \d+ ms$/);
  });

  it('ends before the decode instance shows that it lives: nobody gets to hear what it then pulls', async () => {
    await start(1, 1, (engine) => {
      engine.leaseMs = 2_000;
    });
    bed.strike('decode', { kind: 'freeze', bytes: 0 });
    const { status, json, id } = await bed.post(PATH, { prompt: bed.prompt(), ...GREEDY });
    expect([status, json['error']]).toMatchObject([502, { message: expect.stringContaining('before the lease of its KV was over') }]);
    const record = await bed.record(id);
    expect(record['totalMs']).toBeGreaterThan(1_400);
    expect(record['totalMs']).toBeLessThan(1_400 + NOTICED_MS);
  });
});
