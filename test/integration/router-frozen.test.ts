/**
 * Real processes that are stopped (SIGSTOP) and go on later, as a machine does that swaps or is migrated: their connections stay open
 * and nothing comes. Whatever stops, the client gets the words of one undisturbed engine, and soon.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { explainRecord } from '../../src/router/index.ts';
import { type Engine, Fleet, MODEL, until } from './fleet.ts';

/** About 1.6 s for the prompts here, as predicted. */
const COSTS = { prefillFixed: 5, prefillPerToken: 2, stepFixed: 20 };
const LONG_MS = 30_000;
const DEADLINES = { prefillMs: LONG_MS, pullMs: LONG_MS, firstTokenMs: LONG_MS, idleMs: LONG_MS, totalMs: 2 * LONG_MS };
const TOKENS = 800;
/** A second of silence, two ticks, and a busy machine. */
const NOTICED_MS = 4_000;

/** Engines that verify what they pull recompute what comes late. */
const fleet = new Fleet({
  type: 'sim',
  roles: ['prefill', 'prefill', 'decode', 'decode', 'mixed'],
  engineArgs: ['--lease-ms', '5000', '--costs', JSON.stringify(COSTS)],
  config: { deadlines: DEADLINES },
});
let alone: Engine;
let count = 0;

beforeAll(async () => {
  await fleet.start();
  alone = await fleet.setAside();
});

afterAll(() => fleet.stop());

afterEach(async () => {
  for (const engine of fleet.engines) engine.process.kill('SIGCONT');
  fleet.router?.kill('SIGCONT');
  await until('nothing is held any more', async () => Object.values(await fleet.leftovers()).every((held) => held === 0));
  await until('all are connected', async () => (await fleet.instances()).every(({ connected }) => connected));
  for (const engine of fleet.engines) {
    await until(`${engine.id} is idle`, async () => {
      const { running, waiting, leases } = await fleet.load(engine);
      return running + waiting + leases === 0;
    });
  }
});

const promptOf = () => `Case ${count++}. ${'w'.repeat(4 * TOKENS)}`;

/** Streams a completion to its end; `onPiece` is called with what has come so far. */
async function ask(url: string, body: object, id: string, onPiece: (text: string) => void = () => undefined): Promise<string> {
  const response = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-request-id': id },
    body: JSON.stringify({ model: MODEL, stream: true, temperature: 0, ...body }),
  });
  let raw = '';
  for await (const chunk of response.body ?? []) {
    raw += Buffer.from(chunk).toString('utf8');
    onPiece(raw);
  }
  expect([response.status, raw.includes('data: [DONE]'), raw.includes('"error"')]).toEqual([200, true, false]);
  const data = raw.split('\n\n').filter((event) => event.startsWith('data: {'));
  return data.map((event) => (JSON.parse(event.slice(6)) as { choices: { text: string }[] }).choices[0]?.text ?? '').join('');
}

/** The instance of a role that has a request of the router on it. */
async function busy(role: 'prefill' | 'decode'): Promise<Engine> {
  let found: Engine | undefined;
  await until(`a ${role} instance is busy`, async () => {
    const ids = (await fleet.instances()).filter(({ inFlight }) => inFlight > 0).map(({ id }) => id);
    found = fleet.of(role).find(({ id }) => ids.includes(id));
    return found !== undefined;
  });
  return found as Engine;
}

async function computing(): Promise<Engine> {
  const engine = await busy('prefill');
  await until('it computes', async () => (await fleet.load(engine)).running > 0);
  return engine;
}

describe('a process that is stopped', () => {
  it('while it prefills is given up for another one, and `explain` says why', async () => {
    const body = { prompt: promptOf(), max_tokens: 5 };
    const [expected, asked] = [ask(alone.url, body, 'x'), ask(fleet.routerUrl, body, 'prefill')];
    (await computing()).process.kill('SIGSTOP');
    expect(await asked).toBe(await expected);
    const record = await fleet.record('prefill');
    expect(record.attempts).toHaveLength(2);
    expect(record.attempts[0]?.error).toMatch(/^the instance was silent for \d\.\d s during prefill$/);
    expect(record.attempts[1]?.atMs).toBeLessThan(1_600 + NOTICED_MS);
    expect(record.attempts[1]?.decision.chosen.prefill).not.toBe(record.attempts[0]?.decision.chosen.prefill);
    expect(explainRecord(record)).toMatch(/^lost: the instance was silent for \d\.\d s during prefill$/m);
  });

  it('while it streams is left, and the stream goes on', async () => {
    const body = { prompt: promptOf(), max_tokens: 60 };
    let stopped: Promise<Engine> | null = null;
    const said = await ask(fleet.routerUrl, body, 'stream', (raw) => {
      if (stopped !== null || raw.split('\n\n').length < 10) return;
      stopped = busy('decode').then((engine) => {
        engine.process.kill('SIGSTOP');
        return engine;
      });
    });
    expect(said).toBe(await ask(alone.url, body, 'y'));
    const record = await fleet.record('stream');
    expect(record).toMatchObject({ outcome: 'ok', resumes: 1, outputTokens: 60 });
    expect(record.attempts[0]?.error).toMatch(/^the instance was silent for \d\.\d s between two tokens$/);
  });
});

describe('nothing is given up', () => {
  it('when many prompts wait for instances that work as fast as they can', async () => {
    const bodies = Array.from({ length: 10 }, () => ({ prompt: promptOf(), max_tokens: 2 }));
    await Promise.all(bodies.map((body, index) => ask(fleet.routerUrl, body, `many-${index}`)));
    for (const index of bodies.keys()) {
      const { attempts } = await fleet.record(`many-${index}`);
      expect(attempts.map(({ error }) => error)).toEqual([null]);
    }
  });

  it('when the process that stood still is the router', async () => {
    const body = { prompt: promptOf(), max_tokens: 60 };
    const asked = ask(fleet.routerUrl, body, 'router');
    await computing();
    // Longer than all that is borne of an instance.
    fleet.router?.kill('SIGSTOP');
    await new Promise((resolve) => setTimeout(resolve, 6_000));
    fleet.router?.kill('SIGCONT');
    expect(await asked).toBe(await ask(alone.url, body, 'z'));
    const record = await fleet.record('router');
    expect(record.attempts.map(({ error }) => error)).toEqual([null]);
    expect((await fleet.instances()).every(({ connected }) => connected)).toBe(true);
  });
});

describe('vLLM, which does not verify what it pulls', () => {
  const LEASE_MS = 2_000;
  const vllm = new Fleet({
    type: 'sim',
    roles: ['prefill', 'decode', 'mixed'],
    engineArgs: ['--dialect', 'nixl', '--lease-ms', `${LEASE_MS}`, '--costs', JSON.stringify(COSTS)],
    config: { deadlines: DEADLINES },
  });

  beforeAll(() => vllm.start());
  afterAll(() => vllm.stop());

  it('is not asked to pull what a router that stood still held too long', async () => {
    const reference = await vllm.setAside();
    const [prefill] = vllm.engines as [Engine, Engine];
    const body = { prompt: promptOf(), max_tokens: 5 };
    const asked = ask(vllm.routerUrl, body, 'late');
    await until('it computes', async () => (await vllm.load(prefill)).running > 0);
    vllm.router?.kill('SIGSTOP');
    // It answers, and its lease ends; both while the router does not look.
    await until('it keeps blocks', async () => (await vllm.load(prefill)).leases > 0);
    await until('it keeps none', async () => (await vllm.load(prefill)).leases === 0);
    vllm.router?.kill('SIGCONT');
    expect(await asked).toBe(await ask(reference.url, body, 'w'));
    const { attempts } = await vllm.record('late');
    expect(attempts[0]?.error).toMatch(/^prefill failed: its hand-off is \d+ ms old, and usable for 1000 ms$/);
    expect(attempts).toHaveLength(2);
  });
});
