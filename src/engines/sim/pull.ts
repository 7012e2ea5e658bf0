/** Pulling a prompt's blocks from the instance that prefilled it, over the real transfer or only by its declared time. */
import { pull } from '../../kv/index.ts';
import { type Clock, sleep } from '../../shared/index.ts';
import { pullMs } from '../costs/index.ts';
import type { EngineCosts, EngineCounters, HandOffTicket, PromptReport } from '../port.ts';
import type { Pulled, Sequence } from './sequence.ts';

export interface PullerOptions {
  readonly clock: Clock;
  readonly costs: EngineCosts;
  readonly blockTokens: number;
  readonly bytesPerBlock: number;
  readonly transfer: 'tcp' | 'declared';
  readonly peer: string;
}

/** What is here already, and how long what comes may take. */
export interface PullBounds {
  /** Leading blocks. */
  readonly local: number;
  readonly deadlineMs: number;
}

type HandOff = NonNullable<PromptReport['handOff']>;
export type PullCounters = Pick<EngineCounters, 'externalQueryTokens' | 'externalHitTokens' | 'pulledBytes' | 'pullFailures'>;

/** How a dialect brings a prompt's blocks here. */
export interface SequencePuller {
  counters(): PullCounters;
  /**
   * Pulls what the request's ticket offers beyond the local blocks; null when it has no ticket.
   * @throws what the request fails of
   */
  pull(sequence: Sequence, bounds: PullBounds, signal: AbortSignal): Promise<Pulled | null>;
}

interface Wanted {
  readonly sequence: Sequence;
  readonly from: number;
  readonly to: number;
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
}

export class Puller implements SequencePuller {
  readonly #options: PullerOptions;
  #queriedBlocks = 0;
  #pulledBlocks = 0;
  #pulledBytes = 0;
  #failures = 0;

  constructor(options: PullerOptions) {
    this.#options = options;
  }

  counters(): PullCounters {
    const { blockTokens } = this.#options;
    return {
      externalQueryTokens: this.#queriedBlocks * blockTokens,
      externalHitTokens: this.#pulledBlocks * blockTokens,
      pulledBytes: this.#pulledBytes,
      pullFailures: this.#failures,
    };
  }

  /** Never takes longer than the request allows; what does not come is computed. */
  async pull(sequence: Sequence, { local, deadlineMs }: PullBounds, signal: AbortSignal): Promise<Pulled | null> {
    const { clock, costs, bytesPerBlock } = this.#options;
    const { ticket } = sequence.request;
    if (ticket === null) return null;
    const to = Math.max(local, Math.min(ticket.blocks, sequence.keys.length));
    if (to === local) {
      this.#acknowledge(sequence, local);
      return { from: local, to: local, report: { blocks: 0, bytes: 0, ms: 0, moveMs: 0, failed: null } };
    }
    const startedAt = clock.now();
    this.#queriedBlocks += to - local;
    const came = await this.#fetch(ticket, { sequence, from: local, to, deadlineMs, signal });
    if (came.failed !== null) this.#failures += 1;
    const spentMs = clock.now() - startedAt;
    const declaredMs = Math.min(deadlineMs, pullMs(costs, came.blocks * bytesPerBlock));
    if (declaredMs > spentMs) await sleep(clock, declaredMs - spentMs, signal);
    this.#pulledBlocks += came.blocks;
    this.#pulledBytes += came.bytes;
    return { from: local, to: local + came.blocks, report: { ...came, ms: clock.now() - startedAt, moveMs: clock.now() - startedAt } };
  }

  /** Nothing is lacking: tells the peer, so that its lease need not run out. The request does not wait for it. */
  #acknowledge(sequence: Sequence, local: number): void {
    const { ticket, pullDeadlineMs: deadlineMs } = sequence.request;
    if (ticket === null) return;
    this.#fetch(ticket, { sequence, from: local, to: local, deadlineMs, signal: new AbortController().signal }).catch(() => {
      // Only an argument out of range gets here; then the lease ends by time.
    });
  }

  async #fetch(ticket: HandOffTicket, wanted: Wanted): Promise<HandOff> {
    const { clock, blockTokens, bytesPerBlock, transfer, peer } = this.#options;
    const { sequence, from, to, deadlineMs, signal } = wanted;
    if (transfer === 'declared') return { blocks: to - from, bytes: (to - from) * bytesPerBlock, ms: 0, moveMs: 0, failed: null };
    const { blocks, bytes, ms, failed } = await pull({
      host: ticket.host,
      port: ticket.port,
      lease: ticket.lease,
      keys: sequence.keys.slice(from, to),
      tokens: sequence.tokens.slice(from * blockTokens, to * blockTokens),
      blockTokens,
      bytesPerBlock,
      deadlineMs,
      signal,
      clock,
      peer,
      // The bytes say nothing here; what counts is that they came and were verified.
      onBlock: () => {},
    });
    return { blocks, bytes, ms, moveMs: ms, failed };
  }
}
