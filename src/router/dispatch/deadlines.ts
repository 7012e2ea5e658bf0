/** Longest times of a request's stages, milliseconds, and one sweep that watches all of them: no timer per request or token. */
import type { Cancel, Clock } from '../../shared/index.ts';
import { type Listed, Roster } from './roster.ts';

export interface Deadlines {
  readonly prefillMs: number;
  readonly pullMs: number;
  readonly firstTokenMs: number;
  readonly idleMs: number;
  readonly totalMs: number;
}

export type Stage = 'prefill' | 'firstToken' | 'idle' | 'total';

export interface Watched extends Listed {
  /** Monotonic milliseconds at which `overdue` is due; Infinity = none. */
  deadlineAt: number;
  overdue(): void;
}

const SWEEP_MS = 50;

export class Watchman<One extends Watched> {
  readonly #clock: Clock;
  readonly #watched = new Roster<One>();
  #cancel: Cancel | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** All that are watched now. */
  get all(): Iterable<One> {
    return this.#watched;
  }

  watch(one: One): void {
    this.#watched.add(one);
    if (this.#cancel === null) this.#next();
  }

  forget(one: One): void {
    this.#watched.remove(one);
  }

  #next(): void {
    this.#cancel = this.#clock.after(SWEEP_MS, () => {
      this.#cancel = null;
      const now = this.#clock.now();
      for (const one of this.#watched) if (one.deadlineAt <= now) one.overdue();
      if (this.#watched.size > 0 && this.#cancel === null) this.#next();
    });
  }
}
