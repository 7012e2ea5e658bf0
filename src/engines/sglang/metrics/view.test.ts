import { describe, expect, it } from 'vitest';
import { FREE_COSTS } from '../../../api/facts/index.ts';
import { MetricsFormatError } from '../../agent/metrics/parse.ts';
import type { Role } from '../../port.ts';
import { pageOf } from './page.fixture.ts';
import { MetricsView } from './view.ts';

const viewOf = (role: Role) => new MetricsView({ role, bytesPerBlock: 1000, blockTokens: 16, contextTokens: 8000, costs: FREE_COSTS });
const NOTHING = { held: { hbm: 0, host: 0 }, draining: false };

describe('MetricsView', () => {
  it('has nothing before the first reading', () => {
    const view = viewOf('prefill');
    expect([view.hbmBlocks, view.load(NOTHING)]).toMatchObject([null, { running: 0, waiting: 0, contextTokens: 0, leases: 0 }]);
  });

  it('counts what waits for a peer as waiting, and what is on its way to one as kept', () => {
    const view = viewOf('prefill');
    view.scraped(
      pageOf({ num_running_reqs: 2, num_queue_reqs: 3, num_prefill_bootstrap_queue_reqs: 1, num_prefill_inflight_queue_reqs: 4 }),
    );
    expect(view.load(NOTHING)).toMatchObject({ running: 2, waiting: 4, leases: 4, pendingPrefillTokens: 4000 });
  });

  it('has a decode instance compute no prompts', () => {
    const view = viewOf('decode');
    const page = {
      num_running_reqs: 5,
      num_queue_reqs: 1,
      num_decode_prealloc_queue_reqs: 2,
      num_decode_transfer_queue_reqs: 3,
      token_usage: 0.5,
    };
    view.scraped(pageOf(page));
    expect(view.load(NOTHING)).toMatchObject({ running: 5, waiting: 6, pendingPrefillTokens: 0, contextTokens: 800 });
  });

  it('tells KV in bytes: in use, and kept besides', () => {
    const view = viewOf('mixed');
    view.scraped(pageOf({ token_usage: 0.25 }));
    expect(view.hbmBlocks).toBe(100);
    const { kv } = view.load({ held: { hbm: 60, host: 2 }, draining: true });
    expect(kv).toMatchObject({ hbm: { usedBytes: 25_000, cachedBytes: 35_000, capacityBytes: 100_000 }, host: { cachedBytes: 2000 } });
  });

  it('learns what prompts have to compute', () => {
    const view = viewOf('prefill');
    view.scraped(pageOf({ num_requests_total: 0, prompt_tokens_total: 0, cached_tokens_total: 0 }));
    const page = { num_requests_total: 100, prompt_tokens_total: 50_000, cached_tokens_total: 40_000, num_queue_reqs: 1 };
    view.scraped(pageOf(page));
    expect(view.load(NOTHING).pendingPrefillTokens).toBe(100);
  });

  it.each(['', 'vllm:num_requests_running 1\n', pageOf({ token_usage: Number.NaN })])(
    'keeps the reading before when a page is none of SGLang’s',
    (page) => {
      const view = viewOf('prefill');
      view.scraped(pageOf({ num_running_reqs: 7 }));
      expect(() => view.scraped(page)).toThrow(MetricsFormatError);
      expect(view.load(NOTHING).running).toBe(7);
    },
  );
});
