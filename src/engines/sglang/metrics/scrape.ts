/** What Sluice takes from SGLang's metrics page, as of 0.5.18. Pure. */
import { MetricsFormatError, parseSamples, type Sample } from '../../agent/metrics/parse.ts';

/** One reading of the page. Numbers are sums over its series; ranks that share a model tell it once. */
export interface Scrape {
  readonly running: number;
  /** Not begun, for lack of room. */
  readonly queued: number;
  /** On a prefill instance: their decode instance has not come yet; on a decode instance: their KV has not come yet. */
  readonly meeting: number;
  /** Prompts that are computed and on their way to a decode instance. */
  readonly leaving: number;
  /** Share of KV in use, 0 to 1. */
  readonly kvUsage: number;
  /** Tokens whose KV there is room for; null = not said. */
  readonly kvTokens: number | null;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly generationTokens: number;
  readonly requests: number;
  /** Hand-offs that failed, at either step. */
  readonly failedHandOffs: number;
}

const NAMES = {
  running: 'sglang:num_running_reqs',
  queued: 'sglang:num_queue_reqs',
  bootstrap: 'sglang:num_prefill_bootstrap_queue_reqs',
  /** What it was called before. */
  prefillPrealloc: 'sglang:num_prefill_prealloc_queue_reqs',
  inflight: 'sglang:num_prefill_inflight_queue_reqs',
  prealloc: 'sglang:num_decode_prealloc_queue_reqs',
  transfer: 'sglang:num_decode_transfer_queue_reqs',
  kvUsage: 'sglang:token_usage',
  kvTokens: 'sglang:max_total_num_tokens',
  promptTokens: 'sglang:prompt_tokens_total',
  cachedTokens: 'sglang:cached_tokens_total',
  generationTokens: 'sglang:generation_tokens_total',
  requests: 'sglang:num_requests_total',
  failedBootstraps: 'sglang:num_bootstrap_failed_reqs_total',
  failedTransfers: 'sglang:num_transfer_failed_reqs_total',
} as const;

const WANTED = new Set<string>(Object.values(NAMES));

/**
 * @param page what `GET /metrics` of SGLang answered
 * @throws MetricsFormatError when the page is malformed, has a number that is none, or is not SGLang's. What only one role has, and
 *   counters that are not there yet, count as 0.
 */
export function readScrape(page: string): Scrape {
  const samples = parseSamples(page, WANTED);
  const sum = (name: string) => total(name, samples.get(name) ?? []);
  const usage = required(samples, NAMES.kvUsage);
  const kvTokens = sum(NAMES.kvTokens);
  return {
    running: total(NAMES.running, required(samples, NAMES.running)),
    queued: total(NAMES.queued, required(samples, NAMES.queued)),
    meeting: sum(NAMES.bootstrap) + sum(NAMES.prefillPrealloc) + sum(NAMES.prealloc) + sum(NAMES.transfer),
    leaving: sum(NAMES.inflight),
    kvUsage: Math.min(1, total(NAMES.kvUsage, usage) / usage.length),
    kvTokens: kvTokens > 0 ? kvTokens : null,
    promptTokens: sum(NAMES.promptTokens),
    cachedTokens: sum(NAMES.cachedTokens),
    generationTokens: sum(NAMES.generationTokens),
    requests: sum(NAMES.requests),
    failedHandOffs: sum(NAMES.failedBootstraps) + sum(NAMES.failedTransfers),
  };
}

function required(samples: ReadonlyMap<string, Sample[]>, name: string): Sample[] {
  const found = samples.get(name);
  if (found === undefined) throw new MetricsFormatError(name, "a sample, as on SGLang's page", 'none');
  return found;
}

function total(name: string, samples: readonly Sample[]): number {
  const sum = samples.reduce((before, { value }) => before + value, 0);
  if (!Number.isFinite(sum) || sum < 0) throw new MetricsFormatError(name, 'a number of 0 or more', String(sum));
  return sum;
}
