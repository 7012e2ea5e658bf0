/** SGLang's dialect when something breaks: both legs end together, and the request goes another way, before the first byte and in time. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { BootstrapBed, DEADLINES, type Mishap } from './router-bootstrap-fixture.ts';
import { stream, until } from './router-fixture.ts';

const GREEDY = { temperature: 0, max_tokens: 40, ignore_eos: true };
/** A step takes long enough to be struck; a room, as good as for ever. */
const OPTIONS = { engine: { costs: { prefillFixed: 20, stepFixed: 4 }, leaseMs: 60_000 }, config: { deadlines: DEADLINES } };
let bed: BootstrapBed;
/** One of each, and one that does all of it. */
let few: BootstrapBed;

beforeAll(async () => {
  [bed, few] = await Promise.all([
    BootstrapBed.start({ prefill: 2, decode: 2 }, OPTIONS),
    BootstrapBed.start({ prefill: 1, decode: 1, mixed: 1 }, OPTIONS),
  ]);
});

afterAll(async () => {
  await bed.close();
  await few.close();
});

beforeEach(() => {
  bed.heal();
  few.heal();
});

afterEach(async () => {
  await bed.nothingLeft();
  await few.nothingLeft();
});

/** What the one that does all of it says, without a router. */
async function right(body: object): Promise<string> {
  const mixed = few.engines.find(({ role }) => role === 'mixed');
  const { text } = await stream(mixed?.url ?? '', '/v1/completions', body);
  few.heal();
  return text;
}

const unwell: Mishap = {
  kind: 'status',
  status: 500,
  body: { object: 'error', message: 'out of memory', type: 'x', param: null, code: 500 },
};
const PEERLESS = 'Decode transfer failed for request with bootstrap_room=1: the prefill instance could be dead';
const peerless: Mishap = { ...unwell, body: { object: 'error', message: PEERLESS, type: 'x', param: null, code: 500 } };
const refusing = (message: string): Mishap => ({
  kind: 'status',
  status: 400,
  body: { object: 'error', message, type: 'BadRequestError', param: null, code: 400 },
});
const MISHAPS: [string, Mishap][] = [
  ['says 500', unwell],
  ['has no room', { ...unwell, status: 503 }],
  ['breaks the connection', { kind: 'drop' }],
  ['is lost while it works', { kind: 'lost', ms: 10 }],
  ['never answers', { kind: 'hang' }],
];

describe.each(MISHAPS)('before the first byte, an instance that %s', (_what, mishap) => {
  it.each(['prefill', 'decode'] as const)('in the %s pool: another pair does it, the other leg is ended at once', async (role) => {
    bed.strike(role, mishap);
    const body = { prompt: bed.prompt(), ...GREEDY };
    const startedAt = performance.now();
    const streamed = await bed.stream('/v1/completions', body);
    expect(performance.now() - startedAt).toBeLessThan(DEADLINES.totalMs);
    expect(streamed).toMatchObject({ status: 200, done: true, broken: false, text: await right(body) });
    const record = await bed.record(streamed.requestId);
    expect(record).toMatchObject({ outcome: 'ok', resumes: 0 });
    expect(record.attempts).toMatchObject([{ concurrent: true }, { concurrent: true }]);
    const asked = bed.asked(role);
    // A connection that broke at once is tried again, by the same attempt.
    const different = (name: string) => new Set(asked.map(({ body: said }) => said[name])).size;
    expect([different('bootstrap_room'), different('rid')]).toEqual([2, 2]);
    // The leg that was well waits for its peer for a minute unless it is told.
    const rid = String(asked.find(({ by }) => by === bed.struck)?.body['rid']);
    await until(() => bed.aborted.filter((one) => one === rid).length === 2);
    const other = bed.asked(role === 'prefill' ? 'decode' : 'prefill').filter(({ body }) => body['rid'] === rid);
    await until(() => other.every(({ givenUp }) => givenUp));
  });
});

describe('an instance that still has the first request of a name', () => {
  it('is not taken for a client’s mistake', async () => {
    bed.strike('decode', ({ body }) => refusing(`Duplicate request ID detected: ${String(body['rid'])}`));
    expect((await bed.post('/v1/completions', { prompt: bed.prompt(), ...GREEDY })).status).toBe(200);
  });

  it('is told apart from a client that only says so, which is refused at once', async () => {
    bed.strike('decode', () => refusing('regex: Duplicate request ID detected: bootstrap_room=7 ('));
    expect((await bed.post('/v1/completions', { prompt: bed.prompt(), ...GREEDY })).status).toBe(400);
    expect(bed.asked('decode')).toHaveLength(1);
  });
});

describe('what a decode instance says of its peer', () => {
  it('counts against the prefill instance', async () => {
    bed.strike('decode', peerless, true);
    const { status, id } = await bed.post('/v1/completions', { prompt: bed.prompt(), ...GREEDY });
    expect(status).toBe(200);
    const { attempts } = await bed.record(id);
    const prefills = attempts.map(({ decision }) => decision.chosen.prefill);
    expect([prefills.length, new Set(prefills).size]).toEqual([2, 2]);
  });
});

describe('with one of each and one that does all of it', () => {
  it.each(['prefill', 'decode'] as const)('a lost %s instance leaves the request to that one', async (role) => {
    few.strike(role, { kind: 'drop' });
    const answers = await Promise.all([1, 2, 3].map(() => few.stream('/v1/completions', { prompt: few.prompt(), ...GREEDY })));
    expect(answers.map(({ status, done }) => [status, done])).toEqual([1, 2, 3].map(() => [200, true]));
  });

  it('takes requests for several choices to that one', async () => {
    const { status, id } = await few.post('/v1/completions', { prompt: few.prompt('short'), temperature: 0, max_tokens: 2, echo: true });
    expect(status).toBe(200);
    expect((await few.record(id)).attempts[0]?.decision.chosen).toMatchObject({ prefill: null, decode: 'mixed-0' });
    expect([few.asked('prefill'), few.asked('decode')]).toEqual([[], []]);
    expect(Object.keys(few.asked('mixed')[0]?.body ?? {}).filter((name) => name.startsWith('bootstrap'))).toEqual([]);
  });
});

describe('after the first byte', () => {
  it('a greedy stream goes on over another pair, with the same words and the same id', async () => {
    bed.strike('decode', { kind: 'cut', pieces: 12 }, true);
    const body = { prompt: bed.prompt(), ...GREEDY };
    const streamed = await bed.stream('/v1/completions', body);
    expect(streamed).toMatchObject({ status: 200, done: true, broken: false, text: await right(body) });
    expect(await bed.record(streamed.requestId)).toMatchObject({ outcome: 'ok', resumes: 1 });
    expect(new Set(streamed.events.map(({ id }) => id)).size).toBe(1);
    expect(bed.asked('prefill')).toHaveLength(2);
  });

  it('a sampled one ends in an error that says why', async () => {
    bed.strike('decode', { kind: 'cut', pieces: 12 }, true);
    const streamed = await bed.stream('/v1/completions', { ...GREEDY, prompt: bed.prompt(), temperature: 1, seed: 4 });
    expect(streamed).toMatchObject({ status: 200, done: false, broken: true });
    expect(JSON.stringify(streamed.events.at(-1))).toContain('only greedy ones');
  });

  it('a prefill instance that is lost then is nobody’s loss, and nothing of it is held any more', async () => {
    bed.strike('prefill', { kind: 'held' });
    let events = 0;
    const streamed = bed.stream('/v1/completions', { prompt: bed.prompt(), ...GREEDY, max_tokens: 500 }, (count) => {
      events = count;
    });
    const held = async () => {
      const { reservations, inFlight } = await bed.admin('GET', '/admin/leftovers');
      return [reservations, inFlight].join();
    };
    await until(async () => events > 0 && (await held()) === '2,1' && bed.engines.some((engine) => engine.spoil() > 0));
    await until(async () => (await held()) === '1,1' || events > 500);
    expect(events).toBeLessThan(500);
    expect(await streamed).toMatchObject({ status: 200, done: true });
  });
});

describe('a client that leaves', () => {
  it('before the first byte ends both legs', async () => {
    bed.strike('prefill', { kind: 'hang' });
    const left = new AbortController();
    const body = JSON.stringify({ model: 'sim-model', prompt: bed.prompt(), ...GREEDY });
    const headers = { 'content-type': 'application/json' };
    const answer = fetch(`${bed.router.url}/v1/completions`, { method: 'POST', headers, body, signal: left.signal });
    await until(() => bed.asked('decode').length === 1 && bed.asked('prefill').length === 1);
    left.abort();
    await expect(answer).rejects.toThrow();
    await until(() => bed.aborted.length === 2);
    await until(() => [...bed.asked('prefill'), ...bed.asked('decode')].every(({ givenUp }) => givenUp));
  });
});
