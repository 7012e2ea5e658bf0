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
  /** Called again and again while it is watched. */
  look(now: number): void;
  /** This process stood still for so many milliseconds: what came meanwhile has not been read yet. */
  delayed(ms: number): void;
}

const SWEEP_MS = 50;
/** A sweep that comes so much too late says that nothing ran meanwhile. */
const STANDSTILL_MS = 250;

export class Watchman<One extends Watched> {
  readonly #clock: Clock;
  readonly #watched = new Roster<One>();
  #cancel: Cancel | null = null;
  #sweptAt = 0;
  #sweptBefore = 0;
  #stoodStill = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** All that are watched now. */
  get all(): Iterable<One> {
    return this.#watched;
  }

  /**
   * Up to this time, monotonic milliseconds, all that had come from instances has been read: what is read now came later. It is that of
   * the sweep before the last one, since a process that stood still meets its timers first and what came meanwhile after them.
   */
  get readUntil(): number {
    return this.#sweptBefore;
  }

  watch(one: One): void {
    this.#watched.add(one);
    if (this.#cancel !== null) return;
    this.#sweptAt = this.#clock.now();
    this.#sweptBefore = this.#sweptAt;
    this.#next();
  }

  forget(one: One): void {
    this.#watched.remove(one);
  }

  #next(): void {
    this.#cancel = this.#clock.after(SWEEP_MS, () => {
      this.#cancel = null;
      this.#sweep();
      if (this.#watched.size > 0 && this.#cancel === null) this.#next();
    });
  }

  #sweep(): void {
    const now = this.#clock.now();
    const lateMs = now - this.#sweptAt - SWEEP_MS;
    this.#sweptBefore = this.#sweptAt;
    this.#sweptAt = now;
    // Answers may lie there unread, so nobody is judged before the next sweep; but a process that is always late must judge some day.
    this.#stoodStill = lateMs > STANDSTILL_MS && !this.#stoodStill;
    if (lateMs > STANDSTILL_MS) for (const one of this.#watched) one.delayed(lateMs);
    if (!this.#stoodStill) for (const one of this.#watched) one.look(now);
  }
}
