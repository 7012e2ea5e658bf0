/** Metrics of an engine under vLLM's names, units and buckets, so that dashboards and autoscalers made for vLLM work unchanged. */
import type { Clock } from '../../shared/index.ts';
import { type Count, MetricTable, type Observer } from '../../telemetry/metrics/index.ts';
import type { EngineCore, PromptReport, Sampling, StoreCounts, TierLoad } from '../port.ts';
import { cachedTokens } from './answer.ts';

const FIRST_TOKEN_SECONDS = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560,
];
const TOKEN_SECONDS = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80];
const REQUEST_SECONDS = [0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680];

/** 1, 2, 5, 10, 20, 50, … up to `max`. */
export function oneTwoFiveBuckets(max: number): number[] {
  const buckets: number[] = [];
  for (let power = 1; power <= max; power *= 10) buckets.push(...[1, 2, 5].map((digit) => digit * power).filter((value) => value <= max));
  return buckets;
}

const HISTOGRAMS = {
  firstToken: ['time_to_first_token_seconds', 'Time to first token in seconds.', FIRST_TOKEN_SECONDS],
  interToken: ['inter_token_latency_seconds', 'Time between two output tokens in seconds.', TOKEN_SECONDS],
  perToken: ['request_time_per_output_token_seconds', 'Mean time per output token of a request in seconds.', TOKEN_SECONDS],
  whole: ['e2e_request_latency_seconds', 'Time of a request from its arrival to its end in seconds.', REQUEST_SECONDS],
  queue: ['request_queue_time_seconds', 'Time a request spent waiting in seconds.', REQUEST_SECONDS],
  prefill: ['request_prefill_time_seconds', 'Time a request spent in prefill in seconds.', REQUEST_SECONDS],
  decode: ['request_decode_time_seconds', 'Time a request spent in decode in seconds.', REQUEST_SECONDS],
  inference: ['request_inference_time_seconds', 'Time a request spent in prefill and decode in seconds.', REQUEST_SECONDS],
  promptTokens: ['request_prompt_tokens', 'Prompt tokens of a request.', null],
  generationTokens: ['request_generation_tokens', 'Generated tokens of a request.', null],
  computedTokens: ['request_prefill_kv_computed_tokens', 'Prompt tokens of a request whose KV was computed here.', null],
  maxTokens: ['request_params_max_tokens', 'The max_tokens parameter of a request.', null],
} as const satisfies Record<string, readonly [string, string, readonly number[] | null]>;

const STORE_COUNTERS: Readonly<Record<keyof StoreCounts, readonly [name: string, help: string]>> = {
  readBytes: ['read_bytes', 'KV bytes read from the store.'],
  writtenBytes: ['written_bytes', 'Bytes written to the store.'],
  reads: ['reads', 'Groups of blocks read from the store.'],
  writes: ['writes', 'Groups of blocks written to the store.'],
  onboarded: ['onboarded_prompts', 'Prompts whose KV was read from the store.'],
  recomputed: ['recomputed_prompts', 'Prompts that were computed although they were stored, because that was faster.'],
  droppedBlocks: ['dropped_blocks', 'Blocks that could not be written to the store.'],
  evictedBlocks: ['evicted_blocks', 'Blocks that the store gave up for room.'],
  corrupt: ['corrupt_groups', 'Damaged groups that were found in the store and removed.'],
};

type Histograms = Record<keyof typeof HISTOGRAMS, Observer>;

export type Outcome = 'stop' | 'length' | 'abort' | 'error';

/** What is counted of a request before it runs. */
export interface CountedCall {
  readonly sampling: Pick<Sampling, 'maxTokens'>;
}

export class EngineMetrics {
  readonly #core: EngineCore;
  readonly #clock: Clock;
  readonly #table: MetricTable;
  readonly #process = new MetricTable({});
  readonly #histograms: Histograms;
  readonly #success: Count;
  readonly #cachedTokens: { total: number } = { total: 0 };

  constructor(core: EngineCore, clock: Clock) {
    this.#core = core;
    this.#clock = clock;
    this.#table = new MetricTable({ model_name: core.info.model, engine: '0' });
    this.#addLoad();
    this.#addCounters();
    this.#addTiers();
    this.#addProcess();
    const lengths = oneTwoFiveBuckets(core.info.contextTokens);
    const entries = Object.entries(HISTOGRAMS).map(([key, [name, help, buckets]]) => {
      return [key, this.#table.histogram({ name: `vllm:${name}`, help }, buckets ?? lengths)] as const;
    });
    this.#histograms = Object.fromEntries(entries) as Histograms;
    this.#success = this.#table.count({ name: 'vllm:request_success_total', help: 'Requests that ended, by reason.' }, ['finished_reason']);
    for (const reason of ['stop', 'length', 'abort', 'error']) this.#success.add(0, { finished_reason: reason });
  }

  request(call: CountedCall): RequestMetrics {
    return new RequestMetrics(call, this.#clock, this);
  }

  get histograms(): Histograms {
    return this.#histograms;
  }

  ended(outcome: Outcome): void {
    this.#success.add(1, { finished_reason: outcome });
  }

  cached(tokens: number): void {
    this.#cachedTokens.total += tokens;
  }

  async text(): Promise<string> {
    return `${await this.#table.text()}${await this.#process.text()}`;
  }

  #addLoad(): void {
    const load = () => this.#core.load();
    const gauge = (name: string, help: string, read: () => number) => {
      this.#table.gauge({ name: `vllm:${name}`, help }, () => [{ value: read() }]);
    };
    gauge('num_requests_running', 'Requests in model execution batches.', () => load().running);
    gauge('num_requests_waiting', 'Requests waiting to be processed.', () => load().waiting);
    gauge('kv_cache_usage_perc', 'KV cache usage, 1 is full.', () => {
      const { usedBytes, capacityBytes } = load().kv.hbm;
      return capacityBytes === 0 ? 0 : usedBytes / capacityBytes;
    });
    const reasons = () => [
      { value: load().waiting, labels: { reason: 'capacity' } },
      { value: 0, labels: { reason: 'deferred' } },
    ];
    this.#table.gauge({ name: 'vllm:num_requests_waiting_by_reason', help: 'Waiting requests by reason.' }, reasons, ['reason']);
    const { identity, bytesPerBlock } = this.#core.info;
    const blocks = () => Math.floor(load().kv.hbm.capacityBytes / Math.max(1, bytesPerBlock));
    this.#table.gauge(
      { name: 'vllm:cache_config_info', help: 'KV cache configuration.' },
      () => [{ value: 1, labels: { block_size: String(identity.blockTokens), num_gpu_blocks: String(blocks()) } }],
      ['block_size', 'num_gpu_blocks'],
    );
  }

  #addCounters(): void {
    const total = (name: string, help: string, read: () => number) => {
      this.#table.total({ name: `vllm:${name}_total`, help }, () => [{ value: read() }]);
    };
    const counters = () => this.#core.counters();
    total('prompt_tokens', 'Prompt tokens processed.', () => counters().promptTokens);
    total('prompt_tokens_cached', 'Prompt tokens whose KV was not computed here.', () => this.#cachedTokens.total);
    total('generation_tokens', 'Tokens generated.', () => counters().generationTokens);
    total('prefix_cache_queries', 'Prompt tokens looked up in the local prefix cache.', () => counters().prefixQueryTokens);
    total('prefix_cache_hits', 'Prompt tokens found in the local prefix cache.', () => counters().prefixHitTokens);
    total('external_prefix_cache_queries', 'Prompt tokens asked of other instances.', () => counters().externalQueryTokens);
    total('external_prefix_cache_hits', 'Prompt tokens that came from other instances.', () => counters().externalHitTokens);
    total('num_preemptions', 'Requests preempted for lack of KV blocks.', () => counters().preemptions);
    total('nixl_num_failed_transfers', 'Pulls from other instances that brought fewer blocks than offered.', () => counters().pullFailures);
    total('nixl_num_kv_expired_reqs', 'Leases that ended by time, unread.', () => counters().leasesExpired);
  }

  /** Ours, since vLLM has no names for them. */
  #addTiers(): void {
    const TIERS = ['hbm', 'host', 'store'] as const;
    const loads = () => TIERS.flatMap((tier) => [[tier, this.#core.load().kv[tier]] as const]);
    const tiers = (read: (load: TierLoad) => number) => () =>
      loads().flatMap(([tier, load]) => (load === undefined ? [] : [{ value: read(load), labels: { tier } }]));
    this.#table.gauge(
      { name: 'sluice_kv_held_bytes', help: 'KV held, by tier.' },
      tiers(({ usedBytes, cachedBytes }) => usedBytes + cachedBytes),
      ['tier'],
    );
    this.#table.gauge(
      { name: 'sluice_kv_capacity_bytes', help: 'Room for KV, by tier.' },
      tiers(({ capacityBytes }) => capacityBytes),
      ['tier'],
    );
    if (this.#core.counters().store === undefined) return;
    const ready = () => [{ value: this.#core.load().kv.store?.reason === 'Ready' ? 1 : 0 }];
    this.#table.gauge({ name: 'sluice_kv_store_ready', help: '1 while the store takes and gives blocks.' }, ready);
    for (const [field, [name, help]] of Object.entries(STORE_COUNTERS) as [keyof StoreCounts, readonly [string, string]][]) {
      this.#table.total({ name: `sluice_kv_store_${name}_total`, help }, () => [{ value: this.#core.counters().store?.[field] ?? 0 }]);
    }
  }

  #addProcess(): void {
    const gauge = (name: string, help: string, read: () => number) => this.#process.gauge({ name, help }, () => [{ value: read() }]);
    gauge('process_resident_memory_bytes', 'Resident memory in bytes.', () => process.memoryUsage.rss());
    const startedAt = this.#clock.wall() / 1000 - process.uptime();
    gauge('process_start_time_seconds', 'Start of the process in Unix seconds.', () => startedAt);
    this.#process.total({ name: 'process_cpu_seconds_total', help: 'User and system CPU time in seconds.' }, () => {
      const { user, system } = process.cpuUsage();
      return [{ value: (user + system) / 1e6 }];
    });
  }
}

/** Times of one request. */
export class RequestMetrics {
  readonly #engine: EngineMetrics;
  readonly #clock: Clock;
  readonly #arrivedAt: number;
  #report: PromptReport | null = null;
  #firstTokenAt = 0;
  #lastTokenAt = 0;
  #tokens = 0;

  constructor(call: CountedCall, clock: Clock, engine: EngineMetrics) {
    this.#engine = engine;
    this.#clock = clock;
    this.#arrivedAt = clock.now();
    engine.histograms.maxTokens.observe(call.sampling.maxTokens);
  }

  started(report: PromptReport): void {
    this.#report = report;
    this.#engine.cached(cachedTokens(report));
  }

  token(): void {
    const now = this.#clock.now();
    const { firstToken, interToken } = this.#engine.histograms;
    this.#tokens += 1;
    if (this.#tokens === 1) {
      this.#firstTokenAt = now;
      firstToken.observe((now - this.#arrivedAt) / 1000);
    } else {
      interToken.observe((now - this.#lastTokenAt) / 1000);
    }
    this.#lastTokenAt = now;
  }

  ended(outcome: Outcome): void {
    this.#engine.ended(outcome);
    const report = this.#report;
    if (report === null) return;
    const { histograms } = this.#engine;
    histograms.whole.observe((this.#clock.now() - this.#arrivedAt) / 1000);
    histograms.queue.observe(report.queueMs / 1000);
    histograms.prefill.observe(report.prefillMs / 1000);
    histograms.promptTokens.observe(report.promptTokens);
    histograms.computedTokens.observe(report.computed);
    histograms.generationTokens.observe(this.#tokens);
    if (this.#tokens === 0) return;
    const decodeSeconds = (this.#lastTokenAt - this.#firstTokenAt) / 1000;
    histograms.decode.observe(decodeSeconds);
    histograms.inference.observe(decodeSeconds + report.prefillMs / 1000);
    if (this.#tokens > 1) histograms.perToken.observe(decodeSeconds / (this.#tokens - 1));
  }
}
