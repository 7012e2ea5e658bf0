/** What the contract (test/contract) can not say of a real vLLM as well, or not without waiting. */
import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import type { SimOptions } from '../options.ts';
import { type Json, type Sim, send, startSim, stopSims, until } from '../sims.fixture.ts';

const KEEP = { do_remote_decode: true, do_remote_prefill: false };
const DEAD_EVENT =
  'data: {"error": {"message": "EngineCore encountered an issue. See stack trace (above) for the root cause.", "type": "InternalServerError", "param": null, "code": 500}}\n\ndata: [DONE]\n\n';

interface Answer {
  readonly choices: { index: number; text: string; finish_reason: string; token_ids: number[] }[];
  readonly usage: { completion_tokens: number };
  readonly kv_transfer_params: Json | null;
}

const start = (options: Partial<SimOptions> = {}) => startSim({ role: 'mixed', dialect: 'nixl', sideChannelTimeoutMs: 200, ...options });

afterEach(stopSims);

const post = async (sim: Sim, body: Json) => (await (await send(sim, body)).json()) as Answer;

const promptOf = (tokens: number, salt: number) => Array.from({ length: tokens }, (_, index) => 1 + ((index * 31 + salt * 977) % 1000));

describe('a draining engine', () => {
  it('takes requests and gives them up at once; a stream of one has no event', async () => {
    const sim = await start();
    expect((await fetch(`${sim.url}/sluice/drain`, { method: 'POST' })).status).toBe(202);
    const whole = await post(sim, { prompt: [1, 2], kv_transfer_params: KEEP });
    expect(whole).toMatchObject({ choices: [{ text: '', finish_reason: 'abort' }], kv_transfer_params: null });
    const streamed = await send(sim, { prompt: [1, 2], stream: true });
    expect([streamed.status, await streamed.text()]).toEqual([200, 'data: [DONE]\n\n']);
  });
});

describe('a core that dies', () => {
  it('ends what runs: a stream in its error event, a whole answer in a refusal', async () => {
    const sim = await start({ costs: { stepFixed: 5 } });
    const streamed = await send(sim, { prompt: [1, 2], max_tokens: 4000, stream: true });
    const whole = send(sim, { prompt: [3, 4], max_tokens: 4000 });
    await until('both run', () => sim.core.load().running === 2);
    await post(sim, { prompt: [5], kv_transfer_params: { do_remote_prefill: true } });
    expect((await streamed.text()).endsWith(DEAD_EVENT)).toBe(true);
    expect((await whole).status).toBe(500);
    const late = await send(sim, { prompt: [5], stream: true });
    expect([late.status, late.headers.get('content-type')]).toEqual([500, 'application/json']);
    expect((await fetch(`${sim.url}/health`)).status).toBe(503);
    expect(sim.core.load()).toMatchObject({ running: 0, waiting: 0 });
  });

  it('is told once', async () => {
    let deaths = 0;
    const sim = await start({
      onDeath: () => {
        deaths += 1;
      },
    });
    for (let count = 0; count < 2; count += 1) {
      expect((await send(sim, { prompt: [5], kv_transfer_params: { do_remote_prefill: true } })).status).toBe(500);
      sim.core.die();
    }
    expect(deaths).toBe(1);
  });

  it('dies of fewer blocks than it lacks, and not of those that it has itself', async () => {
    const [prefill, decode] = [await start(), await start()];
    const prompt = promptOf(64, 1);
    await post(decode, { prompt: prompt.slice(0, 49), max_tokens: 1 });
    const { kv_transfer_params: params } = await post(prefill, { prompt, max_tokens: 1, kv_transfer_params: KEEP });
    const few = { ...params, remote_block_ids: [[4]] };
    expect((await send(decode, { prompt, kv_transfer_params: few })).status).toBe(200);
    expect(decode.core.dead).toBe(false);
    const other = promptOf(64, 2);
    expect((await send(decode, { prompt: other, kv_transfer_params: few })).status).toBe(500);
    expect(decode.core.dead).toBe(true);
  });
});

describe('blocks that are kept', () => {
  it('stay in HBM: what needs their room waits until they are read', async () => {
    const [prefill, decode] = [await start({ contextTokens: 256, hbmBytes: 16 * 4096 }), await start({ contextTokens: 256 })];
    const prompt = promptOf(160, 1);
    const { kv_transfer_params: params } = await post(prefill, { prompt, max_tokens: 1, kv_transfer_params: KEEP });
    expect(prefill.core.load()).toMatchObject({ leases: 1, kv: { hbm: { usedBytes: 10 * 4096 } } });
    const crowded = post(prefill, { prompt: promptOf(160, 2), max_tokens: 1 });
    await until('it waits', () => prefill.core.load().waiting === 1);
    await post(decode, { prompt, max_tokens: 1, kv_transfer_params: params });
    expect((await crowded).usage.completion_tokens).toBe(1);
    expect(prefill.core.load()).toMatchObject({ leases: 0, kv: { hbm: { usedBytes: 0 } } });
  });

  it('are given back when the client leaves while they are pulled, and when its request is refused', async () => {
    const [prefill, decode] = [await start(), await start({ costs: { pullFixed: 60_000 } })];
    const prompt = promptOf(64, 1);
    const leg = async () => (await post(prefill, { prompt, max_tokens: 1, kv_transfer_params: KEEP })).kv_transfer_params;
    const refused = await send(decode, { prompt, max_tokens: -1, kv_transfer_params: await leg() });
    expect(refused.status).toBe(400);
    await until('given back', () => prefill.core.load().leases === 0);
    const leaving = new AbortController();
    const response = await send(decode, { prompt, stream: true, kv_transfer_params: await leg() }, leaving.signal);
    expect([response.status, decode.core.load().waiting]).toEqual([200, 1]);
    leaving.abort();
    await until('given back', () => prefill.core.load().leases === 0 && decode.core.load().waiting === 0);
  });

  it('that are overwritten before a late read give wrong words, and nobody is told', async () => {
    const small = { contextTokens: 256, hbmBytes: 16 * 4096 };
    const [prefill, decode] = [await start({ ...small, leaseMs: 20 }), await start()];
    const prompt = promptOf(160, 1);
    const { kv_transfer_params: params } = await post(prefill, { prompt, max_tokens: 1, kv_transfer_params: KEEP });
    await until('the lease is over', () => prefill.core.counters().leasesExpired === 1);
    await post(prefill, { prompt: promptOf(240, 2), max_tokens: 1 });
    const body = { prompt, max_tokens: 8, return_token_ids: true };
    const late = await post(decode, { ...body, kv_transfer_params: params });
    const right = await post(prefill, body);
    expect(late.choices[0]?.finish_reason).toBe('length');
    expect(late.choices[0]?.token_ids).not.toEqual(right.choices[0]?.token_ids);
  });
});

describe('params without an address', () => {
  it('let the request wait until its client leaves, and the core dies of that', async () => {
    const sim = await start();
    const leaving = new AbortController();
    const stuck = { do_remote_prefill: true, remote_block_ids: [[1]], tp_size: 1, remote_engine_id: 'e', remote_request_id: 'r' };
    const response = await send(sim, { prompt: [1, 2], stream: true, kv_transfer_params: stuck }, leaving.signal);
    expect(response.status).toBe(200);
    expect((await post(sim, { prompt: [1, 2], max_tokens: 1 })).usage.completion_tokens).toBe(1);
    leaving.abort();
    await until('the core is dead', () => sim.core.dead);
  });
});

describe('answers', () => {
  it('to several prompts and choices are numbered through', async () => {
    const sim = await start();
    const body = { prompt: ['abcd', 'efgh'], n: 2, temperature: 1, seed: 1, max_tokens: 2 };
    const whole = await post(sim, body);
    expect(whole.choices.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
    expect(whole.usage).toMatchObject({ prompt_tokens: 2, completion_tokens: 8 });
    expect(new Set(whole.choices.map(({ text }) => text)).size).toBe(4);
    const text = await (await send(sim, { ...body, stream: true })).text();
    for (const { index } of whole.choices) expect(text.split(`"index":${index},`)).toHaveLength(3);
  });

  it('end by themselves with an end of text that has no words, not before min_tokens', async () => {
    const sim = await start();
    const body = { ignore_eos: false, max_tokens: 3000, return_token_ids: true };
    const ends = await post(sim, { ...body, prompt: [7] });
    const { completion_tokens: tokens } = ends.usage;
    expect(ends.choices[0]).toMatchObject({ finish_reason: 'stop', stop_reason: null });
    expect(ends.choices[0]?.token_ids.at(-1)).toBe(0);
    const longer = await post(sim, { ...body, prompt: [7], min_tokens: tokens + 1 });
    expect(longer.usage.completion_tokens).toBeGreaterThan(tokens);
  });

  it('go to a client that reads; another one is given up', async () => {
    const sim = await start({ contextTokens: 200_000, hbmBytes: 2 ** 27 });
    const lazy = await send(sim, { prompt: [1], max_tokens: 190_000, stream: true });
    await until('given up', () => sim.core.load().running === 0);
    await expect(lazy.text()).rejects.toThrow();
    expect(sim.core.counters().generationTokens).toBeLessThan(190_000);
  });
});

it('counts under names that a real vLLM has', async () => {
  const real = readFileSync(new URL('../../vllm/fixtures/metrics-decode.txt', import.meta.url), 'utf8');
  const namesOf = (page: string) => new Set([...page.matchAll(/^(vllm:[a-z_]+)/gm)].map(([, name]) => name ?? ''));
  const sim = await start();
  const page = await (await fetch(`${sim.url}/metrics`)).text();
  expect([...namesOf(page)].filter((name) => !namesOf(real).has(name))).toEqual([]);
  expect([...namesOf(page)].filter((name) => name.startsWith('vllm:nixl_')).length).toBeGreaterThanOrEqual(10);
});
