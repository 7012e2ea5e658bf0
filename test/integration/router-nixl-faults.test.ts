/** vLLM's dialect when instances fail: before the first byte another way is found, after it the stream goes on or says why not. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Json, MODEL, type Streamed } from './router-fixture.ts';
import { DEADLINES, NixlBed } from './router-nixl-fixture.ts';
import { type Asked, INTERNAL, type Mishap } from './vllm-script.ts';

let bed: NixlBed;

// A bed of its own for each test: failures that a router remembers from the test before would let it leave instances out.
beforeEach(async () => {
  bed = await NixlBed.start({ prefill: 2, decode: 3 });
  bed.heal();
});

afterEach(async () => {
  try {
    await bed.nothingLeft();
    expect(bed.deaths).toEqual([]);
  } finally {
    await bed.close();
  }
});

const GREEDY = { temperature: 0, max_tokens: 12 };
const STATUS_500: Mishap = { kind: 'status', status: 500, body: INTERNAL };
const PATHS = ['/v1/completions', '/v1/chat/completions'] as const;

function askOf(path: string, prompt: string): Json {
  return path === PATHS[0] ? { prompt } : { messages: [{ role: 'user', content: prompt }] };
}

function params(change: (given: Json) => unknown): Mishap {
  return { kind: 'params', change };
}

describe.each(PATHS)('before the first byte, %s', (path) => {
  it.each<[string, Asked['leg'], Mishap]>([
    ['a prefill leg without params', 'prefill', params(() => null)],
    ['params for another count of blocks', 'prefill', params((given) => ({ ...given, remote_block_ids: [[1]] }))],
    ['params for another count of tokens', 'prefill', params((given) => ({ ...given, remote_num_tokens: 1 }))],
    ['params without a host', 'prefill', params((given) => ({ ...given, remote_host: undefined }))],
    ['a prefill leg that fails', 'prefill', STATUS_500],
    ['a prefill leg that hangs', 'prefill', { kind: 'hang' }],
    ['a pull that fails with a 500', 'decode', STATUS_500],
    ['a pull that fails in the stream', 'decode', { kind: 'error', after: 0 }],
    ['a pull that fails after the role', 'decode', { kind: 'error', after: path === PATHS[0] ? 0 : 1 }],
    ['a pull that hangs', 'decode', { kind: 'hang' }],
    ['a decode instance that shuts down', 'decode', { kind: 'abort', after: path === PATHS[0] ? 0 : 1 }],
    ['a stream that breaks off at once', 'decode', { kind: 'cut', bytes: 20 }],
  ])('goes round %s', async (_what, leg, mishap) => {
    const body = { ...askOf(path, bed.prompt()), ...GREEDY };
    const well = await bed.alone(path, body);
    bed.strike(leg, mishap);
    const struck = await bed.stream(path, body);
    expect(struck).toMatchObject({ status: 200, text: well.text, done: true, broken: false });
    expect(struck.raw).not.toContain('error');
    const record = await bed.record(struck.requestId);
    expect(record).toMatchObject({ outcome: 'ok', resumes: 0 });
    expect(record.attempts.length).toBeGreaterThan(1);
    expect(record.attempts[0]?.error).not.toBeNull();
  });

  it.each<[string, Mishap]>([
    ['a 500', STATUS_500],
    ['an abort', { kind: 'abort', after: 0 }],
    ['no choices', { kind: 'other', after: 0 }],
  ])('asks again for a whole answer after %s', async (_what, mishap) => {
    bed.strike('decode', mishap);
    const { status, json } = await bed.post(path, { ...askOf(path, bed.prompt()), ...GREEDY });
    expect(status).toBe(200);
    expect((json['choices'] as Json[])[0]).toMatchObject({ finish_reason: 'length' });
  });
});

describe('a pull that fails', () => {
  it('leaves the prefill instance out and asks the decode instance again, without params', async () => {
    bed.strike('decode', { kind: 'error', after: 0 }, true);
    const struck = await bed.stream(PATHS[0], { prompt: bed.prompt(), ...GREEDY });
    const [first, second] = (await bed.record(struck.requestId)).attempts.map(({ decision }) => decision.chosen);
    expect(second?.prefill).not.toBe(first?.prefill);
  });

  it('is not waited for longer than a pull may take', async () => {
    const deadlines = { ...DEADLINES, firstTokenMs: 5_000 };
    await bed.close();
    bed = await NixlBed.start({ prefill: 2, decode: 3 }, { deadlines });
    bed.strike('decode', { kind: 'hang' }, true);
    const { requestId } = await bed.stream(PATHS[0], { prompt: bed.prompt(), ...GREEDY });
    const [, second] = (await bed.record(requestId)).attempts;
    expect(second?.atMs).toBeGreaterThan(deadlines.pullMs);
    expect(second?.atMs).toBeLessThan(deadlines.firstTokenMs);
  });
});

describe('after the first byte', () => {
  const plain = (streamed: Streamed) => streamed.events.map((event) => JSON.stringify(event)).join('\n');

  /** A resumed stream looks as if nothing had happened. */
  async function expectWhole(path: string, body: Json, mishap: Mishap, merge = 1): Promise<void> {
    bed.heal();
    const well = await bed.stream(path, body);
    bed.strike('any', mishap, true);
    let first = true;
    for (const engine of bed.of('decode')) {
      const struck = engine.mishap;
      engine.mishap = (asked) => {
        const found = struck(asked);
        // The next instance cuts the text into other events.
        if (!asked.probe) engine.merge = first ? 1 : merge;
        first &&= asked.probe;
        return found;
      };
    }
    const struck = await bed.stream(path, body);
    expect({ mishap, text: struck.text, done: struck.done, broken: struck.broken }).toEqual({
      mishap,
      text: well.text,
      done: true,
      broken: false,
    });
    const ids = struck.events.map(({ id, created }) => `${String(id)} ${String(created)}`);
    expect(new Set(ids).size).toBe(1);
    expect(ids[0]).toContain(String(struck.requestId));
    expect(struck.events.filter((event) => plain({ ...struck, events: [event] }).includes('"finish_reason":"'))).toHaveLength(1);
    expect(struck.events.at(-1)?.['usage']).toMatchObject({ completion_tokens: 12 });
    expect(plain(struck).split('"role"').length).toBe(plain(well).split('"role"').length);
    expect(plain(struck)).not.toContain('error');
  }

  const WITH_USAGE = { ...GREEDY, stream_options: { include_usage: true } };

  it.each(PATHS)('goes on wherever the stream breaks, %s', async (path) => {
    const body = { ...askOf(path, bed.prompt()), ...WITH_USAGE };
    for (let bytes = 150; bytes < 3300; bytes += 61) await expectWhole(path, body, { kind: 'cut', bytes }, 1 + (bytes % 4));
  });

  it.each(PATHS)('goes on with log-probabilities, each once, %s', async (path) => {
    const body = { ...askOf(path, bed.prompt()), ...WITH_USAGE, logprobs: path === PATHS[0] ? 1 : true };
    for (let bytes = 500; bytes < 3600; bytes += 397) {
      await expectWhole(path, body, { kind: 'cut', bytes }, 1 + (bytes % 3));
      const { events } = await bed.stream(path, body);
      const values = events.flatMap((event) => {
        const [choice] = event['choices'] as { logprobs?: { token_logprobs?: number[]; content?: { logprob: number }[] } }[];
        return choice?.logprobs?.token_logprobs ?? choice?.logprobs?.content?.map(({ logprob }) => logprob) ?? [];
      });
      expect(values.map(Math.abs)).toEqual(Array.from({ length: 12 }, (_, index) => index));
    }
  });

  it.each<[string, Mishap]>([
    ['reports an error', { kind: 'error', after: 5 }],
    ['is shut down', { kind: 'abort', after: 5 }],
  ])('goes on when the instance %s', async (_what, mishap) => {
    await expectWhole(PATHS[0], { prompt: bed.prompt(), ...WITH_USAGE }, mishap, 2);
    await expectWhole(PATHS[1], { ...askOf(PATHS[1], bed.prompt()), ...WITH_USAGE }, mishap, 3);
  });

  it('goes on with a sampled request that has a seed, or is given one', async () => {
    await expectWhole(PATHS[0], { prompt: bed.prompt(), ...WITH_USAGE, temperature: 0.9, seed: 7 }, { kind: 'cut', bytes: 900 });
    const body = { prompt: bed.prompt(), ...WITH_USAGE, temperature: 0.9, sluice: { resume: 'exact' } };
    await expectWhole(PATHS[0], body, { kind: 'cut', bytes: 900 });
    const legs = bed.engines.flatMap((engine) => engine.served.filter(({ leg }) => leg !== 'prefill'));
    const seedsById = Object.groupBy(legs, ({ headers }) => String(headers['x-request-id']));
    // One request went well; the other one needed two instances, which got one seed.
    const resumed = Object.values(seedsById).filter((each) => each?.length === 2);
    expect(resumed).toHaveLength(1);
    const [first, second] = (resumed[0] ?? []).map(({ body: sent }) => sent['seed']);
    expect(first).toEqual(expect.any(Number));
    expect(second).toBe(first);
    expect(bed.engines.flatMap((engine) => engine.served.filter(({ body: sent }) => 'sluice' in sent))).toEqual([]);
  });

  it('says so when a sampled request has no seed', async () => {
    bed.strike('any', { kind: 'cut', bytes: 900 }, true);
    const struck = await bed.stream(PATHS[0], { prompt: bed.prompt(), max_tokens: 12 });
    expect(struck).toMatchObject({ done: false, broken: true });
    expect(struck.events.at(-1)).toMatchObject({
      error: { code: 'stream_interrupted', message: expect.stringContaining('without a seed') },
    });
  });

  it('says so when the other instance says something else', async () => {
    let count = 0;
    for (const engine of bed.of('decode')) {
      engine.mishap = ({ probe }) => {
        if (probe) return { kind: 'none' };
        count += 1;
        return count === 1 ? { kind: 'cut', bytes: 900 } : { kind: 'other', after: 1 };
      };
    }
    const struck = await bed.stream(PATHS[0], { prompt: bed.prompt(), ...GREEDY });
    expect(struck).toMatchObject({ done: false, broken: true });
    expect(struck.events.at(-1)).toMatchObject({
      error: { code: 'stream_interrupted', message: expect.stringContaining('did not reproduce') },
    });
    expect(struck.text).not.toContain('zz');
  });

  it('ends a stream of which only the end is missing', async () => {
    const body = { prompt: bed.prompt(), max_tokens: 12, temperature: 0.9 };
    const well = await bed.stream(PATHS[0], body);
    const bytes = Buffer.byteLength(well.raw) - 10;
    bed.strike('any', { kind: 'cut', bytes }, true);
    expect(await bed.stream(PATHS[0], body)).toMatchObject({ text: well.text, done: true, broken: false });
  });
});

describe('an engine that is dead', () => {
  it('gets nothing more in this life of it, and nobody else is blamed', async () => {
    const small = await NixlBed.start({ prefill: 1, decode: 2 });
    try {
      const [victim] = small.of('decode');
      if (!victim) throw new Error('no instance');
      small.heal();
      victim.dead = 'killed by the test';
      for (let asked = 0; asked < 20; asked += 1) {
        const { status } = await small.post(PATHS[0], { prompt: small.prompt(), ...GREEDY });
        expect(status).toBe(200);
      }
      expect(victim.asked).toHaveLength(1);
      const { instances } = (await small.admin('GET', '/admin/top')) as { instances: readonly { id: string; state: string }[] };
      expect(instances.map(({ id, state }) => `${id} ${state}`)).toEqual(['prefill-0 ready', 'decode-0 open', 'decode-1 ready']);
    } finally {
      await small.close();
    }
  });
});

describe('a client', () => {
  it('that goes away cancels the leg, and its address is nowhere', async () => {
    bed.strike('decode', { kind: 'hang' });
    const cancel = new AbortController();
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, signal: cancel.signal };
    const body = JSON.stringify({ model: MODEL, prompt: bed.prompt(), stream: true, ...GREEDY });
    const asked = fetch(`${bed.router.url}${PATHS[0]}`, { ...init, body }).then(
      () => 'answered',
      () => 'cancelled',
    );
    cancel.abort();
    expect(await asked).toBe('cancelled');
    await bed.nothingLeft();
  });
});
