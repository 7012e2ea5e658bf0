/** What Sluice takes from vLLM's metrics page. Pure. */

import { MetricsFormatError, parseSamples, type Sample } from '../../agent/metrics/parse.ts';
import type { EngineCounters } from '../../port.ts';

/** A histogram without its buckets. */
export interface Total {
  readonly sum: number;
  readonly count: number;
}

/** One reading of the page. Numbers are sums over the engine's data-parallel ranks. */
export interface Scrape {
  readonly running: number;
  readonly waiting: number;
  /** Of them waiting for KV from elsewhere, not for room. */
  readonly deferred: number;
  /** Share of KV blocks in use by requests or kept for peers, 0 to 1. */
  readonly kvUsage: number;
  /** Blocks that HBM has room for; null = not said. */
  readonly hbmBlocks: number | null;
  readonly counters: EngineCounters;
  /** Of requests that ended: time from being scheduled to the first token, in seconds. */
  readonly prefillSeconds: Total;
  /** Of requests that ended: prompt tokens that were not in the local prefix cache. **Those that were pulled are among them.** */
  readonly uncachedTokens: Total;
  readonly promptTokens: Total;
  readonly tokenGapSeconds: Total;
  readonly pullSeconds: Total;
  readonly pulledBytes: Total;
}

const VALUES = {
  running: 'vllm:num_requests_running',
  waiting: 'vllm:num_requests_waiting',
  waitingByReason: 'vllm:num_requests_waiting_by_reason',
  kvUsage: 'vllm:kv_cache_usage_perc',
  cacheConfig: 'vllm:cache_config_info',
  promptTokens: 'vllm:prompt_tokens_total',
  generationTokens: 'vllm:generation_tokens_total',
  prefixQueryTokens: 'vllm:prefix_cache_queries_total',
  prefixHitTokens: 'vllm:prefix_cache_hits_total',
  externalQueryTokens: 'vllm:external_prefix_cache_queries_total',
  externalHitTokens: 'vllm:external_prefix_cache_hits_total',
  pullFailures: 'vllm:nixl_num_failed_transfers_total',
  leasesExpired: 'vllm:nixl_num_kv_expired_reqs_total',
  preemptions: 'vllm:num_preemptions_total',
} as const;

const TOTALS = {
  prefillSeconds: 'vllm:request_prefill_time_seconds',
  uncachedTokens: 'vllm:request_prefill_kv_computed_tokens',
  promptTokens: 'vllm:request_prompt_tokens',
  tokenGapSeconds: 'vllm:inter_token_latency_seconds',
  pullSeconds: 'vllm:nixl_xfer_time_seconds',
  pulledBytes: 'vllm:nixl_bytes_transferred',
} as const;

const WANTED = new Set<string>([...Object.values(VALUES), ...Object.values(TOTALS).flatMap((name) => [`${name}_sum`, `${name}_count`])]);

/**
 * @param page what `GET /metrics` of vLLM answered
 * @throws MetricsFormatError when the page is malformed, has a number that is none, or is not vLLM's. Counters that are not there count
 *   as 0: an engine without hand-offs has none of them.
 */
export function readScrape(page: string): Scrape {
  const samples = parseSamples(page, WANTED);
  const sum = (name: string) => total(name, samples.get(name) ?? []);
  const both = (name: string): Total => ({ sum: sum(`${name}_sum`), count: sum(`${name}_count`) });
  const usage = required(samples, VALUES.kvUsage);
  const pulledBytes = both(TOTALS.pulledBytes);
  return {
    running: total(VALUES.running, required(samples, VALUES.running)),
    waiting: total(VALUES.waiting, required(samples, VALUES.waiting)),
    deferred: total(VALUES.waitingByReason, (samples.get(VALUES.waitingByReason) ?? []).filter(isDeferred)),
    kvUsage: Math.min(1, total(VALUES.kvUsage, usage) / usage.length),
    hbmBlocks: hbmBlocks(samples.get(VALUES.cacheConfig) ?? []),
    counters: {
      promptTokens: sum(VALUES.promptTokens),
      generationTokens: sum(VALUES.generationTokens),
      prefixQueryTokens: sum(VALUES.prefixQueryTokens),
      prefixHitTokens: sum(VALUES.prefixHitTokens),
      externalQueryTokens: sum(VALUES.externalQueryTokens),
      externalHitTokens: sum(VALUES.externalHitTokens),
      pulledBytes: pulledBytes.sum,
      pullFailures: sum(VALUES.pullFailures),
      leasesExpired: sum(VALUES.leasesExpired),
      preemptions: sum(VALUES.preemptions),
    },
    prefillSeconds: both(TOTALS.prefillSeconds),
    uncachedTokens: both(TOTALS.uncachedTokens),
    promptTokens: both(TOTALS.promptTokens),
    tokenGapSeconds: both(TOTALS.tokenGapSeconds),
    pullSeconds: both(TOTALS.pullSeconds),
    pulledBytes,
  };
}

function required(samples: ReadonlyMap<string, Sample[]>, name: string): Sample[] {
  const found = samples.get(name);
  if (found === undefined) throw new MetricsFormatError(name, "a sample, as on vLLM's page", 'none');
  return found;
}

function total(name: string, samples: readonly Sample[]): number {
  const sum = samples.reduce((before, { value }) => before + value, 0);
  if (!Number.isFinite(sum) || sum < 0) throw new MetricsFormatError(name, 'a number of 0 or more', String(sum));
  return sum;
}

function isDeferred({ labels }: Sample): boolean {
  return labels.get('reason') === 'deferred';
}

function hbmBlocks(configs: readonly Sample[]): number | null {
  const blocks = configs.reduce((before, { labels }) => before + Number(labels.get('num_gpu_blocks')), 0);
  return Number.isSafeInteger(blocks) && blocks > 0 ? blocks : null;
}
