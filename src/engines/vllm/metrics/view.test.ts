import { describe, expect, it } from 'vitest';
import { MetricsFormatError } from '../../agent/metrics/parse.ts';
import type { EngineCosts } from '../../port.ts';
import { DECODE_PAGE, PREFILL_PAGE, withValues } from './page.fixture.ts';
import { MetricsView } from './view.ts';

const START: EngineCosts = {
  prefillFixed: 10,
  prefillPerToken: 0.5,
  prefillPerTokenContext: 0,
  stepFixed: 10,
  stepPerSequence: 1,
  stepPerContextToken: 0,
  pullFixed: 2,
  pullPerMiB: 1,
};
const OPTIONS = { bytesPerBlock: 1000, blockTokens: 32, contextTokens: 4096 };
const IDLE = { held: { hbm: 0, host: 0 }, draining: false };

type Values = Readonly<Record<string, number>>;

/** An engine whose page starts as recorded, without requests, and then changes step by step: gauges are set, all else is added to. */
function engine(page: string, start = START) {
  const view = new MetricsView(OPTIONS, start);
  let text = withValues(page, { num_requests_running: 0, num_requests_waiting: 0, kv_cache_usage_perc: 0 });
  let now = 0;
  view.scraped(text, now);
  const next = (change: Values, ms = 250) => {
    for (const [name, value] of Object.entries(change)) {
      const isGauge = name.startsWith('num_requests') || name === 'kv_cache_usage_perc';
      const before = Number(new RegExp(`^vllm:${name}(?:\\{.*\\})? (.*)$`, 'm').exec(text)?.[1]);
      text = withValues(text, { [name]: isGauge ? value : before + value });
    }
    now += ms;
    view.scraped(text, now);
  };
  return { view, next };
}

function prefilled(count: number, tokens: number, seconds: number): Values {
  return {
    request_prefill_time_seconds_count: count,
    request_prefill_time_seconds_sum: seconds,
    request_prefill_kv_computed_tokens_count: count,
    request_prefill_kv_computed_tokens_sum: tokens,
    request_prompt_tokens_count: count,
    request_prompt_tokens_sum: tokens,
    prompt_tokens_total: tokens,
  };
}

function stepped(count: number, seconds: number): Values {
  return { inter_token_latency_seconds_count: count, inter_token_latency_seconds_sum: seconds };
}

function pulled(count: number, bytes: number, seconds: number): Values {
  return {
    nixl_xfer_time_seconds_count: count,
    nixl_xfer_time_seconds_sum: seconds,
    nixl_bytes_transferred_count: count,
    nixl_bytes_transferred_sum: bytes,
  };
}

function prefillMs({ prefillFixed, prefillPerToken, prefillPerTokenContext }: EngineCosts, tokens: number): number {
  return prefillFixed + prefillPerToken * tokens + (prefillPerTokenContext * tokens ** 2) / 2;
}

function stepMs({ stepFixed, stepPerSequence }: EngineCosts, sequences: number): number {
  return stepFixed + stepPerSequence * sequences;
}

describe('MetricsView: load', () => {
  it('says nothing and costs what it was told before the first reading', () => {
    const view = new MetricsView(OPTIONS, START);
    const load = view.load(IDLE);
    expect(load).toMatchObject({ running: 0, waiting: 0, pendingPrefillTokens: 0, contextTokens: 0, leases: 0 });
    expect(load.kv).toEqual({
      hbm: { usedBytes: 0, cachedBytes: 0, capacityBytes: 0 },
      host: { usedBytes: 0, cachedBytes: 0, capacityBytes: 0 },
    });
    expect(load.costs).toMatchObject({
      prefillFixed: 10,
      prefillPerToken: 0.5,
      stepFixed: 10,
      stepPerSequence: 1,
      pullFixed: 2,
      pullPerMiB: 1,
    });
    expect([view.hbmBlocks, view.counters().promptTokens]).toEqual([null, 0]);
  });

  it('tells what requests need from what is kept besides', () => {
    const { view, next } = engine(DECODE_PAGE);
    next({ kv_cache_usage_perc: 0.25, num_requests_running: 4 });
    const load = view.load({ held: { hbm: 3000, host: 5 }, draining: true });
    expect(load.kv.hbm).toEqual({ usedBytes: 2048 * 1000, cachedBytes: 952 * 1000, capacityBytes: 8192 * 1000 });
    expect(load.kv.host).toEqual({ usedBytes: 0, cachedBytes: 5000, capacityBytes: 5000 });
    expect([load.running, load.draining, load.contextTokens]).toEqual([4, true, 2046 * 32]);
    // More than there is room for is never said, nor less than nothing.
    expect(view.load({ held: { hbm: 99_999, host: 0 }, draining: false }).kv.hbm.cachedBytes).toBe(6144 * 1000);
    expect(view.load({ held: { hbm: 7, host: 0 }, draining: false }).kv.hbm.cachedBytes).toBe(0);
  });

  it('expects of waiting requests what prompts usually have to compute', () => {
    const { view, next } = engine(PREFILL_PAGE);
    next({ num_requests_waiting: 3, num_requests_running: 1 });
    expect(view.load(IDLE).pendingPrefillTokens).toBe(3 * 512);
    for (let round = 0; round < 10; round++) next({ ...prefilled(5, 5 * 1000, 1), num_requests_waiting: 2 });
    expect(view.load(IDLE).pendingPrefillTokens).toBeGreaterThan(2 * 990);
    next({ num_requests_waiting: 0 });
    expect(view.load(IDLE).pendingPrefillTokens).toBe(0);
  });

  it('expects nothing of requests that wait for KV from elsewhere', () => {
    // The recorded page has one request, which waits for KV.
    const view = new MetricsView(OPTIONS, START);
    view.scraped(DECODE_PAGE, 0);
    expect(view.load(IDLE)).toMatchObject({ waiting: 1, pendingPrefillTokens: 0 });
  });

  it('knows that KV is kept for peers when nobody runs', () => {
    const { view, next } = engine(PREFILL_PAGE);
    expect(view.load(IDLE).leases).toBe(0);
    next({ kv_cache_usage_perc: 0.01 });
    expect(view.load(IDLE).leases).toBe(1);
    next({ num_requests_running: 1 });
    expect(view.load(IDLE)).toMatchObject({ running: 1, leases: 0 });
  });

  it('keeps its last reading when a page is not vLLM', () => {
    const { view, next } = engine(DECODE_PAGE);
    next({ num_requests_running: 2 });
    expect(() => view.scraped('<html>', 1000)).toThrow(MetricsFormatError);
    expect(view.load(IDLE).running).toBe(2);
    expect(view.counters().pulledBytes).toBe(7_077_888);
  });
});

describe('MetricsView: costs', () => {
  it('learns what a prompt costs from prompts that were alone', () => {
    const { view, next } = engine(PREFILL_PAGE);
    for (let round = 0; round < 40; round++) {
      const tokens = 100 + ((round * 613) % 2000);
      next(prefilled(1, tokens, (5 + tokens * 0.25) / 1000), 1000);
    }
    for (const tokens of [200, 1000, 2000]) expect(Math.abs(prefillMs(view.costs(), tokens) / (5 + tokens * 0.25) - 1)).toBeLessThan(0.12);
  });

  it('learns from several prompts in one interval when they came one after the other', () => {
    const { view, next } = engine(PREFILL_PAGE);
    for (let round = 0; round < 40; round++) next(prefilled(4, 4 * 500, (4 * 800) / 1000), 4000);
    expect(Math.abs(prefillMs(view.costs(), 500) / 800 - 1)).toBeLessThan(0.12);
  });

  it('does not take the wait for others for the cost of a prompt, but sees that prompts are cheap', () => {
    const { view, next } = engine(PREFILL_PAGE);
    const before = prefillMs(view.costs(), 500);
    for (let round = 0; round < 20; round++) next({ ...prefilled(4, 4 * 500, 8), num_requests_running: 4 });
    for (let round = 0; round < 20; round++) next({ ...prefilled(4, 4 * 500, 8), num_requests_running: 0 });
    expect(prefillMs(view.costs(), 500)).toBe(before);
    for (let round = 0; round < 20; round++) next({ ...prefilled(4, 4 * 500, 0.2), num_requests_running: 4 });
    expect(prefillMs(view.costs(), 500)).toBeLessThan(0.4 * before);
  });

  it('learns nothing of prompts from those that were pulled, until all of them are gone', () => {
    const { view, next } = engine(DECODE_PAGE);
    const before = prefillMs(view.costs(), 500);
    next({ external_prefix_cache_hits_total: 500, num_requests_running: 1 });
    // It ends long after the pull: nearly no time, and all of its tokens said to be computed.
    for (let round = 0; round < 5; round++) next(prefilled(1, 500, 0.001));
    expect(prefillMs(view.costs(), 500)).toBe(before);
    next({ num_requests_running: 0 });
    next({ ...prefilled(1, 500, 0.1), num_requests_running: 1 });
    expect(prefillMs(view.costs(), 500)).toBeLessThan(before);
  });

  it('learns nothing from prompts that were nearly all known', () => {
    const { view, next } = engine(PREFILL_PAGE);
    const before = view.costs();
    for (let round = 0; round < 10; round++) next(prefilled(1, 8, 0.002));
    expect(view.costs()).toEqual(before);
  });

  it('learns what a step costs at the number of sequences', () => {
    const { view, next } = engine(DECODE_PAGE);
    for (let round = 0; round < 80; round++) {
      const running = [1, 4, 8][Math.floor(round / 4) % 3] ?? 1;
      next({ num_requests_running: running });
      next({ ...stepped(running * 10, (running * 10 * (4 + 2 * running)) / 1000), num_requests_running: running });
    }
    for (const running of [1, 4, 8]) expect(Math.abs(stepMs(view.costs(), running) / (4 + 2 * running) - 1)).toBeLessThan(0.12);
  });

  it('does not take prompts between steps for slow steps', () => {
    const { view, next } = engine(DECODE_PAGE);
    next({ num_requests_running: 2 });
    const before = stepMs(view.costs(), 2);
    for (let round = 0; round < 20; round++) next({ ...stepped(20, 20 * 0.2), prompt_tokens_total: 100 });
    expect(stepMs(view.costs(), 2)).toBe(before);
    for (let round = 0; round < 20; round++) next({ ...stepped(20, 20 * 0.003), prompt_tokens_total: 100 });
    expect(stepMs(view.costs(), 2)).toBeLessThan(0.5 * before);
  });

  it('learns what a pull costs by its size', () => {
    const { view, next } = engine(DECODE_PAGE);
    for (let round = 0; round < 60; round++) {
      const mib = [1, 10, 40][round % 3] ?? 1;
      next(pulled(2, 2 * mib * 2 ** 20, (2 * (1 + mib * 3)) / 1000));
    }
    const { pullFixed, pullPerMiB } = view.costs();
    for (const mib of [1, 10, 40]) expect(Math.abs((pullFixed + pullPerMiB * mib) / (1 + mib * 3) - 1)).toBeLessThan(0.12);
  });

  it('learns nothing across a restart of the engine, nor from a clock that stands still', () => {
    const { view, next } = engine(DECODE_PAGE);
    const before = view.costs();
    next({ ...pulled(1, 2 ** 20, 5), prompt_tokens_total: -100 });
    next(pulled(1, 2 ** 20, 5), 0);
    expect(view.costs()).toEqual(before);
  });

  it('reads a page in a few milliseconds', () => {
    const view = new MetricsView(OPTIONS, START);
    const rounds = 40;
    const startedAt = process.cpuUsage();
    for (let round = 0; round < rounds; round++) view.scraped(DECODE_PAGE, round);
    const { user, system } = process.cpuUsage(startedAt);
    expect((user + system) / 1000 / rounds).toBeLessThan(20);
  });
});
