/**
 * Real vLLM, one prefill and two decode instances, killed and cut while they work: no accepted greedy stream is lost or changed.
 * Each case looks for the moment that it wants (a leg is under way, the first text is there) and does the damage then.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { isAlive } from '../integration/up-process.ts';
import { type Answer, metric, post, randomFrom, type Streamed, streamed, textOf, whole } from './client.ts';
import { Deployment, MODEL, processesNamed } from './deployment.ts';
import { nameOf, until } from './running.ts';

const TOKENS = 48;
/** Not at its end when the last of several streams begins, on a busy machine too. */
const LONG_TOKENS = 300;
const STREAMS = 3;
const RESTART_MS = 200_000;

const deployment = new Deployment();
const random = randomFrom(21);

beforeAll(() => deployment.start({ prefill: 1, decode: 2 }), 400_000);

afterAll(async () => {
  const left = await deployment.close();
  expect(left, 'processes left over').toEqual([]);
  expect(processesNamed('VLLM::'), 'orphans of vLLM').toEqual([]);
}, 60_000);

/** What an earlier case has broken is whole again. */
beforeEach(async () => {
  await until('one prefill and two decode instances serve', RESTART_MS, async () => {
    const roles = (await deployment.running.instances()).filter(({ connected }) => connected).map(({ role }) => role);
    return roles.toSorted().join() === 'decode,decode,prefill';
  });
}, RESTART_MS);

interface Expected {
  readonly body: Record<string, unknown>;
  readonly answer: Answer;
}

/** Requests with the answers that one vLLM alone gives, asked before the damage. */
async function prepared(promptTokens: number, tokens = TOKENS): Promise<Expected[]> {
  const { requestUrl } = await deployment.running.serving('decode-0');
  const all: Expected[] = [];
  for (let at = 0; at < STREAMS; at += 1) {
    const prompt = textOf(random, promptTokens + at);
    const body =
      at % 2 === 0
        ? { model: MODEL, prompt, max_tokens: tokens, temperature: 0, ignore_eos: true }
        : { model: MODEL, messages: [{ role: 'user', content: prompt }], max_tokens: tokens, temperature: 0, ignore_eos: true };
    all.push({ body, answer: await whole(requestUrl, { ...body, cache_salt: 'alone' }) });
  }
  return all;
}

async function expectUnharmed(expected: readonly Expected[], got: readonly Streamed[]): Promise<void> {
  for (const [at, { answer, body }] of expected.entries()) {
    const stream = got[at];
    expect(stream, JSON.stringify(stream?.error)).toMatchObject({ status: 200, error: null, done: true, finish: 'length' });
    expect(stream?.text).toBe(answer.choices[0]?.text ?? answer.choices[0]?.message?.content);
    expect(stream?.usage).toMatchObject({ prompt_tokens: answer.usage.prompt_tokens, completion_tokens: answer.usage.completion_tokens });
    expect(stream?.ids.size, 'one id in all events').toBe(1);
    expect(stream?.created.size, 'one time in all events').toBe(1);
    expect(stream?.roles).toBe('messages' in body ? 1 : 0);
  }
  // The router's own probes come and go; one on a frozen instance waits for as long as a prefill may take.
  await until('nothing is left over', 45_000, async () => {
    const left = (await (await fetch(`${deployment.running.adminUrl}/admin/leftovers`)).json()) as Record<string, number>;
    return Object.values(left).every((count) => count === 0);
  });
}

const send = ({ body }: Expected, onText?: (text: string) => void) => streamed(deployment.url, body, onText);

async function busy(id: string): Promise<void> {
  await until(`a request is on ${id}`, 20_000, async () => (await deployment.running.instance(id)).inFlight > 0);
}

/** Streams of which each has begun; resolves with the decode instance that most are on. */
async function begun(expected: readonly Expected[]): Promise<{ streams: Promise<Streamed>[]; on: string }> {
  const texts = expected.map(() => '');
  const streams = expected.map((one, at) =>
    send(one, (text) => {
      texts[at] = text;
    }),
  );
  await until('each stream has begun', 60_000, () => texts.every((text) => text.length > 0));
  const decoders = (await deployment.running.instances()).filter(({ role }) => role === 'decode');
  const [busiest] = decoders.sort((a, b) => b.inFlight - a.inFlight);
  if (!busiest || busiest.inFlight === 0) throw new Error('no decode instance has a stream');
  return { streams, on: busiest.id };
}

describe('the prefill instance is killed', () => {
  it('before its leg: the streams are served all the same', { timeout: 400_000 }, async () => {
    const expected = await prepared(600);
    const { incarnation } = await deployment.running.serving('prefill-0');
    deployment.running.kill('prefill-0');
    await expectUnharmed(expected, await Promise.all(expected.map((one) => send(one))));
    await deployment.running.serving('prefill-0', incarnation);
  });

  it('during its leg', { timeout: 400_000 }, async () => {
    // Streams on the decode instances make it worth while to prefill elsewhere.
    const running = await prepared(200, LONG_TOKENS);
    const expected = await prepared(3_500, 16);
    const { incarnation } = await deployment.running.serving('prefill-0');
    const { streams } = await begun(running);
    streams.push(...expected.map((one) => send(one)));
    await busy('prefill-0');
    deployment.running.kill('prefill-0');
    await expectUnharmed([...running, ...expected], await Promise.all(streams));
    await deployment.running.serving('prefill-0', incarnation);
  });

  it('after its leg, with streams running', { timeout: 400_000 }, async () => {
    const expected = await prepared(500, LONG_TOKENS);
    const { incarnation } = await deployment.running.serving('prefill-0');
    const { streams } = await begun(expected);
    deployment.running.kill('prefill-0');
    await expectUnharmed(expected, await Promise.all(streams));
    await deployment.running.serving('prefill-0', incarnation);
  });
});

describe('the prefill instance freezes', () => {
  it('with legs and pulls under way: nobody waits for it longer than a pull may take', { timeout: 400_000 }, async () => {
    const running = await prepared(200, LONG_TOKENS);
    const expected = await prepared(2_000, 16);
    const { incarnation } = await deployment.running.serving('prefill-0');
    const { streams } = await begun(running);
    streams.push(...expected.map((one) => send(one)));
    await busy('prefill-0');
    const frozen = deployment.running.vllmOf('prefill-0');
    for (const pid of frozen) process.kill(pid, 'SIGSTOP');
    await expectUnharmed([...running, ...expected], await Promise.all(streams));
    await deployment.running.serving('prefill-0', incarnation);
    await until('what was frozen is gone', 20_000, () => frozen.every((pid) => !isAlive(pid)));
  });
});

describe('a decode instance is killed', () => {
  it('before the first byte', { timeout: 400_000 }, async () => {
    const running = await prepared(200, LONG_TOKENS);
    const expected = await prepared(1_500, 24);
    const { streams } = await begun(running);
    const lives = new Map((await deployment.running.instances()).map(({ id, incarnation }) => [id, incarnation]));
    streams.push(...expected.map((one) => send(one)));
    await busy('prefill-0');
    const chosen = (await deployment.running.instances()).find(({ role, inFlight }) => role === 'decode' && inFlight > 0);
    const victim = chosen?.id ?? 'decode-1';
    deployment.running.kill(victim);
    await expectUnharmed([...running, ...expected], await Promise.all(streams));
    await deployment.running.serving(victim, lives.get(victim));
  });

  it('after the first byte: the other goes on with the same text', { timeout: 400_000 }, async () => {
    const expected = await prepared(400, LONG_TOKENS);
    const { streams, on } = await begun(expected);
    const { incarnation } = await deployment.running.instance(on);
    deployment.running.kill(on);
    const got = await Promise.all(streams);
    await expectUnharmed(expected, got);
    await deployment.running.serving(on, incarnation);
  });
});

describe('an engine core dies while its HTTP server lives', () => {
  it('is noticed within a second, its streams go on elsewhere, and its whole process tree is replaced', { timeout: 400_000 }, async () => {
    const expected = await prepared(400, LONG_TOKENS);
    const { streams, on } = await begun(expected);
    const { incarnation } = await deployment.running.instance(on);
    const tree = deployment.running.treeOf(on);
    const began = performance.now();
    for (const pid of tree) if (nameOf(pid).startsWith('VLLM::EngineCor')) process.kill(pid, 'SIGKILL');
    await until(
      `${on} has left routing`,
      10_000,
      async () => !(await deployment.running.instances()).find(({ id }) => id === on)?.connected,
    );
    const noticedMs = performance.now() - began;
    await expectUnharmed(expected, await Promise.all(streams));
    await deployment.running.serving(on, incarnation);
    expect(
      tree.filter((pid) => deployment.running.treeOf(on).includes(pid)),
      'processes of the old life',
    ).toEqual([]);
    expect(noticedMs).toBeLessThan(1_500);
  });
});

describe('a sampled stream', () => {
  it('without a seed ends with a clear error when its instance dies', { timeout: 400_000 }, async () => {
    const body = { model: MODEL, prompt: textOf(random, 300), max_tokens: 400, temperature: 0.9, ignore_eos: true };
    let text = '';
    const stream = streamed(deployment.url, body, (all) => {
      text = all;
    });
    await until('it has begun', 60_000, () => text.length > 0);
    const victim = (await deployment.running.instances()).find(({ role, inFlight }) => role === 'decode' && inFlight > 0);
    if (!victim) throw new Error('no decode instance has the stream');
    deployment.running.kill(victim.id);
    const got = await stream;
    expect(got.done).toBe(false);
    expect(got.error?.code).toBe('stream_interrupted');
    expect(got.error?.message).toMatch(/sampled|seed/);
    await deployment.running.serving(victim.id, victim.incarnation);
  });
});

describe('an edit of the file', () => {
  it('replaces both pools one by one while requests run', { timeout: 900_000 }, async () => {
    const expected = await prepared(300, 32);
    const before = (await deployment.running.instances()).map(({ incarnation }) => incarnation);
    deployment.save({ prefill: 1, decode: 2, maxSequences: 9 });
    let rolling = true;
    const rolled = until('all instances were replaced', RESTART_MS * 3, async () => {
      const now = await deployment.running.instances();
      return now.length === 3 && now.every(({ connected, incarnation }) => connected && !before.includes(incarnation));
    }).finally(() => {
      rolling = false;
    });
    /** One stream after the other without a break: two cores, and what starts needs some of them. */
    const asked = async () => {
      let rounds = 0;
      for (; rolling; rounds += 1) for (const one of expected) await expectStreams([one]);
      return rounds;
    };
    const [rounds] = await Promise.all([asked(), rolled]);
    expect(rounds).toBeGreaterThan(1);
  });
});

async function expectStreams(expected: readonly Expected[]): Promise<void> {
  const got = await Promise.all(expected.map((one) => send(one)));
  for (const [at, { answer }] of expected.entries()) {
    expect(got[at], JSON.stringify(got[at]?.error)).toMatchObject({ status: 200, error: null, done: true });
    expect(got[at]?.text).toBe(answer.choices[0]?.text ?? answer.choices[0]?.message?.content);
  }
}

describe('a prefill leg that nobody pulls', () => {
  it('is given up by vLLM after its lease of 30 s, and counted', { timeout: 120_000 }, async () => {
    // Whatever its name is after a roll.
    const prefill = (await deployment.running.instances()).find(({ role }) => role === 'prefill');
    const { requestUrl } = await deployment.running.serving(prefill?.id ?? 'prefill-0');
    const expired = () => metric(requestUrl, 'vllm:nixl_num_kv_expired_reqs_total');
    const before = await expired();
    const params = {
      do_remote_decode: true,
      do_remote_prefill: false,
      remote_engine_id: null,
      remote_block_ids: null,
      remote_host: null,
      remote_port: null,
    };
    const body = { model: MODEL, prompt: textOf(random, 640), max_tokens: 1, temperature: 0, kv_transfer_params: params };
    const began = performance.now();
    expect((await post(requestUrl, body)).status).toBe(200);
    expect(await metric(requestUrl, 'vllm:kv_cache_usage_perc')).toBeGreaterThan(0);
    await until('the lease ended', 60_000, async () => (await metric(requestUrl, 'vllm:kv_cache_usage_perc')) === 0);
    expect(performance.now() - began).toBeGreaterThan(20_000);
    await until('it is counted', 15_000, async () => (await expired()) > before);
  });
});
