/** SGLang's metrics as Sluice's load: the last reading of the page, and what prompts usually have to compute. */
import type { MetricsReader } from '../../agent/follow.ts';
import type { EngineCosts, EngineLoad, Role } from '../../port.ts';
import { readScrape, type Scrape } from './scrape.ts';

export interface MetricsViewOptions {
  readonly role: Role;
  readonly bytesPerBlock: number;
  readonly blockTokens: number;
  readonly contextTokens: number;
  /** Measured by first requests; SGLang's page does not say enough to correct them. */
  readonly costs: EngineCosts;
}

/** Weight of a new request in the usual number of tokens to compute for a prompt. */
const NEWEST = 0.1;

export class MetricsView implements MetricsReader {
  readonly #options: MetricsViewOptions;
  #last: Scrape | null = null;
  /** Tokens to compute that a waiting request usually has. */
  #usualTokens: number;

  constructor(options: MetricsViewOptions) {
    this.#options = options;
    this.#usualTokens = options.contextTokens / 8;
  }

  /** @throws MetricsFormatError when the page is not SGLang's; the reading before stays */
  scraped(page: string): void {
    const after = readScrape(page);
    if (this.#last !== null) this.#seePrompts(this.#last, after);
    this.#last = after;
  }

  get hbmBlocks(): number | null {
    const tokens = this.#last?.kvTokens ?? null;
    return tokens === null ? null : Math.floor(tokens / this.#options.blockTokens);
  }

  /**
   * The load at the last reading; without one, nothing runs and nothing is held. Estimates: `contextTokens` from the KV in use;
   * `pendingPrefillTokens` from the number of waiting requests and what prompts usually have to compute, none on a decode instance.
   * `leases` are prompts on their way to a decode instance.
   */
  load({ held, draining }: Parameters<MetricsReader['load']>[0]): EngineLoad {
    const { bytesPerBlock, role, costs } = this.#options;
    const last = this.#last;
    const capacity = this.hbmBlocks ?? 0;
    const used = (last?.kvUsage ?? 0) * capacity;
    const cached = Math.min(Math.max(0, held.hbm - used), Math.max(0, capacity - used));
    const isComputed = last !== null && role !== 'decode';
    return {
      running: last?.running ?? 0,
      waiting: last === null ? 0 : last.queued + last.meeting,
      pendingPrefillTokens: isComputed ? Math.round((last.queued + last.meeting) * this.#usualTokens) : 0,
      contextTokens: last === null || last.running === 0 ? 0 : Math.round(last.kvUsage * (last.kvTokens ?? 0)),
      kv: {
        hbm: {
          usedBytes: Math.round(used * bytesPerBlock),
          cachedBytes: Math.round(cached * bytesPerBlock),
          capacityBytes: capacity * bytesPerBlock,
        },
        host: { usedBytes: 0, cachedBytes: held.host * bytesPerBlock, capacityBytes: held.host * bytesPerBlock },
      },
      leases: last?.leaving ?? 0,
      draining,
      costs,
    };
  }

  #seePrompts(before: Scrape, after: Scrape): void {
    const count = after.requests - before.requests;
    const tokens = after.promptTokens - before.promptTokens - (after.cachedTokens - before.cachedTokens);
    if (count <= 0 || tokens < 0) return;
    const weight = 1 - (1 - NEWEST) ** count;
    this.#usualTokens += weight * (tokens / count - this.#usualTokens);
  }
}
