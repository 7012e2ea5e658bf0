/** vLLM's metrics as Sluice's load, counters and costs: the last two readings of the page, and what was learnt from all before. */
import type { EngineCosts, EngineCounters, EngineLoad } from '../../port.ts';
import { CostLearner } from './costs.ts';
import { readScrape, type Scrape } from './scrape.ts';

export interface MetricsViewOptions {
  readonly bytesPerBlock: number;
  readonly blockTokens: number;
  readonly contextTokens: number;
}

/** What the page does not say. */
export interface LoadContext {
  /** Blocks that the engine announced as held, from its KV events. */
  readonly held: { readonly hbm: number; readonly host: number };
  readonly draining: boolean;
}

/** Weight of a new request in the usual number of tokens to compute for a prompt. */
const NEWEST = 0.1;

export class MetricsView {
  readonly #options: MetricsViewOptions;
  readonly #learner: CostLearner;
  #last: Scrape | null = null;
  #lastAtMs = 0;
  /** Tokens to compute that a waiting request usually has. */
  #usualTokens: number;

  /** @param start costs until something was learnt */
  constructor(options: MetricsViewOptions, start: EngineCosts) {
    this.#options = options;
    this.#learner = new CostLearner(start);
    this.#usualTokens = options.contextTokens / 8;
  }

  /**
   * @param page vLLM's metrics page, read at `nowMs` of a clock that does not go back
   * @throws MetricsFormatError when the page is not vLLM's; the reading before stays
   */
  scraped(page: string, nowMs: number): void {
    const after = readScrape(page);
    const before = this.#last;
    if (before !== null) {
      this.#learner.learn({ before, after, ms: nowMs - this.#lastAtMs }, this.#contextTokens(before));
      this.#seePrompts(before, after);
    }
    this.#last = after;
    this.#lastAtMs = nowMs;
  }

  /** Blocks that HBM has room for; null = not known yet. */
  get hbmBlocks(): number | null {
    return this.#last?.hbmBlocks ?? null;
  }

  costs(): EngineCosts {
    return this.#learner.costs();
  }

  /** All 0 before the first reading. */
  counters(): EngineCounters {
    return this.#last?.counters ?? NO_COUNTERS;
  }

  /**
   * The load at the last reading; without one, nothing runs and nothing is held. Estimates, since the page does not say them:
   * `contextTokens` from the blocks in use, without prompts that share blocks; `pendingPrefillTokens` from the number of waiting requests
   * and what prompts usually have to compute, without those that are being computed; `leases` is 1 for any number of them while no request
   * runs, else 0.
   */
  load({ held, draining }: LoadContext): EngineLoad {
    const { bytesPerBlock } = this.#options;
    const last = this.#last;
    const capacity = last?.hbmBlocks ?? 0;
    const used = (last?.kvUsage ?? 0) * capacity;
    const cached = Math.min(Math.max(0, held.hbm - used), Math.max(0, capacity - used));
    return {
      running: last?.running ?? 0,
      waiting: last?.waiting ?? 0,
      pendingPrefillTokens: last === null ? 0 : Math.round(Math.max(0, last.waiting - last.deferred) * this.#usualTokens),
      contextTokens: last === null ? 0 : this.#contextTokens(last),
      kv: {
        hbm: {
          usedBytes: Math.round(used * bytesPerBlock),
          cachedBytes: Math.round(cached * bytesPerBlock),
          capacityBytes: capacity * bytesPerBlock,
        },
        host: { usedBytes: 0, cachedBytes: held.host * bytesPerBlock, capacityBytes: held.host * bytesPerBlock },
      },
      leases: last !== null && keepsForPeers(last) ? 1 : 0,
      draining,
      costs: this.costs(),
    };
  }

  /** The last block of a sequence is half full on average. */
  #contextTokens({ running, kvUsage, hbmBlocks }: Scrape): number {
    if (running === 0) return 0;
    const blocks = kvUsage * (hbmBlocks ?? 0);
    return Math.max(0, Math.round((blocks - running / 2) * this.#options.blockTokens));
  }

  #seePrompts(before: Scrape, after: Scrape): void {
    const count = after.uncachedTokens.count - before.uncachedTokens.count;
    const tokens = after.uncachedTokens.sum - before.uncachedTokens.sum;
    if (count <= 0 || tokens < 0) return;
    const weight = 1 - (1 - NEWEST) ** count;
    this.#usualTokens += weight * (tokens / count - this.#usualTokens);
  }
}

/** KV is in use and no request is there: it is kept for instances that have not pulled it yet. */
function keepsForPeers({ running, waiting, kvUsage }: Scrape): boolean {
  return running + waiting === 0 && kvUsage > 0;
}

const NO_COUNTERS: EngineCounters = {
  promptTokens: 0,
  generationTokens: 0,
  prefixQueryTokens: 0,
  prefixHitTokens: 0,
  externalQueryTokens: 0,
  externalHitTokens: 0,
  pulledBytes: 0,
  pullFailures: 0,
  leasesExpired: 0,
  preemptions: 0,
};
