import type { Cancel, Clock } from '../../shared/index.ts';
import { Deadlines } from '../deadlines.ts';
import type { Held } from './order.ts';

/** Longer waits are cut into several: a timer of more than 2^31 ms would fire at once. */
const MAX_TIMER_MS = 3_600_000;

interface LeaseState {
  readonly id: string;
  readonly chain: readonly Held[];
  readonly ttlMs: number;
  expiresAt: number;
}

export interface LeasesOptions {
  readonly clock: Clock;
  readonly maxLeases: number;
  readonly newId: () => string;
  /** Called for every block of an ending lease, from the chain's end to its start. */
  readonly unpin: (held: Held) => void;
}

/**
 * Leases over held blocks. They end by release or by time: judged at every use, and by one timer so that nothing stays pinned when
 * nobody asks.
 */
export class Leases {
  readonly #options: LeasesOptions;
  readonly #live = new Map<string, LeaseState>();
  readonly #deadlines = new Deadlines<LeaseState>();
  #cancelTimer: Cancel | null = null;
  #timerAt = Number.POSITIVE_INFINITY;
  #expired = 0;

  constructor(options: LeasesOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#live.size;
  }

  get hasRoom(): boolean {
    return this.#live.size < this.#options.maxLeases;
  }

  /** Leases that ended by time, since the start. */
  get expired(): number {
    return this.#expired;
  }

  /** @throws RangeError when `ttlMs` is not a finite number above 0. */
  add(chain: readonly Held[], ttlMs: number): string {
    if (!(ttlMs > 0 && ttlMs < Number.POSITIVE_INFINITY)) throw new RangeError(`ttlMs: expected a finite number above 0, got ${ttlMs}`);
    const state = { id: this.#options.newId(), chain, ttlMs, expiresAt: this.#options.clock.now() + ttlMs };
    this.#live.set(state.id, state);
    // Entries of released leases wait in the heap for their time; more of them than live ones are swept out.
    if (this.#deadlines.size > 2 * this.#live.size + 64) this.#deadlines.keep((other) => this.#live.get(other.id) === other);
    this.#deadlines.add(state.expiresAt, state);
    this.#arm();
    return state.id;
  }

  renew(id: string): boolean {
    const state = this.#live.get(id);
    if (!state) return false;
    state.expiresAt = this.#options.clock.now() + state.ttlMs;
    return true;
  }

  release(id: string): boolean {
    const state = this.#live.get(id);
    if (!state) return false;
    this.#end(state);
    if (this.#live.size === 0) this.#deadlines.clear();
    this.#arm();
    return true;
  }

  /** Ends all leases whose time has come. */
  expire(): void {
    const now = this.#options.clock.now();
    if (this.#deadlines.next > now) return;
    for (;;) {
      const state = this.#deadlines.takeDue(now);
      if (!state) break;
      if (this.#live.get(state.id) !== state) continue;
      if (state.expiresAt > now) {
        this.#deadlines.add(state.expiresAt, state);
      } else {
        this.#end(state);
        this.#expired += 1;
      }
    }
    this.#arm();
  }

  /** Drops all leases without unpinning: the blocks are gone as well. */
  clear(): void {
    this.#live.clear();
    this.#deadlines.clear();
    this.#arm();
  }

  #end(state: LeaseState): void {
    this.#live.delete(state.id);
    for (let index = state.chain.length - 1; index >= 0; index--) this.#options.unpin(state.chain[index] as Held);
  }

  #arm(): void {
    const at = this.#deadlines.next;
    if (at === this.#timerAt) return;
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    this.#timerAt = at;
    if (at === Number.POSITIVE_INFINITY) return;
    const waitMs = Math.min(MAX_TIMER_MS, Math.max(0, at - this.#options.clock.now()));
    this.#cancelTimer = this.#options.clock.after(waitMs, () => {
      this.#cancelTimer = null;
      this.#timerAt = Number.POSITIVE_INFINITY;
      this.expire();
      this.#arm();
    });
  }
}
