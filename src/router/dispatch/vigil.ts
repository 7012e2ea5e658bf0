/** Watches over a flight's stage: what it may take, and whether the instance that works on it still lives. */
import type { Instance } from '../instances/instance.ts';
import type { Silence } from '../instances/pulse.ts';
import type { Stage } from './deadlines.ts';
import { judgeLeg, type Verdict } from './patience.ts';

/** How soon another way is looked for again when there was none. */
const LOOK_AGAIN_MS = 250;
/** A leg that is slow is looked at again after this share of the time that it has taken so far. */
const SLOW_AGAIN = 0.5;

export class Vigil {
  stage: Stage = 'total';
  /** When the stage is to be over; Infinity never is one, since the request's own end bounds it. */
  deadlineAt: number;
  readonly totalAt: number;
  #instance: Instance | null = null;
  #beside: Instance | null = null;
  #since = 0;
  #slowAt = Number.POSITIVE_INFINITY;
  #liveBy = Number.POSITIVE_INFINITY;
  #liveAfter = 0;
  #lookAt = 0;
  #silence: Silence | null = null;

  /** @param totalAt when the request is to be over, monotonic milliseconds */
  constructor(totalAt: number) {
    this.totalAt = totalAt;
    this.deadlineAt = totalAt;
  }

  /** The silence that `look` found last. */
  get silence(): Silence | null {
    return this.#silence;
  }

  /** The instance whose silence that is. */
  get silent(): Instance | null {
    return this.#instance?.pulse.silence ? this.#instance : this.#beside;
  }

  /** @param instance that works on it. */
  enter(stage: Stage, instance: Instance | null, now: number, ms: number): void {
    this.stage = stage;
    this.#instance = instance;
    this.#beside = null;
    this.#since = now;
    this.#slowAt = Number.POSITIVE_INFINITY;
    this.#liveBy = Number.POSITIVE_INFINITY;
    this.#lookAt = 0;
    this.deadlineAt = Math.min(this.totalAt, now + ms);
  }

  /** This one works on the present stage too: its silence counts. */
  alsoOn(instance: Instance): void {
    this.#beside = instance;
  }

  slowAfter(ms: number): void {
    this.#slowAt = this.#since + ms;
  }

  /** What the instance works with is of no use any more unless it has begun by then. */
  liveBy(ms: number): void {
    this.#liveBy = this.#since + ms;
    this.#liveAfter = this.#since;
  }

  /** Something came: the stage begins anew. */
  extend(now: number, ms: number): void {
    this.deadlineAt = Math.min(this.totalAt, now + ms);
    this.#instance?.pulse.answered(now);
  }

  /** It is the client that keeps the stage waiting. */
  suspend(): void {
    this.deadlineAt = this.totalAt;
    this.#lookAt = Number.POSITIVE_INFINITY;
  }

  /** This process stood still for so long. The end of the whole request stays: the client's clock went on. */
  delay(ms: number): void {
    this.deadlineAt = Math.min(this.totalAt, this.deadlineAt + ms);
    this.#since += ms;
    this.#slowAt += ms;
  }

  elapsedMs(now: number): number {
    return now - this.#since;
  }

  msLeft(now: number, ms: number): number {
    return Math.min(ms, this.totalAt - now);
  }

  look(now: number): Verdict {
    this.#silence = now >= this.#lookAt ? (this.#instance?.pulse.silence ?? this.#beside?.pulse.silence ?? null) : null;
    const { stage, deadlineAt, totalAt } = this;
    // Nearly always, and twenty times a second for every request.
    if (this.#silence === null && now < deadlineAt && now < this.#slowAt && now < this.#liveBy) return null;
    const lived = (this.#instance?.pulse.aliveAt ?? 0) > this.#liveAfter;
    return judgeLeg({ stage, deadlineAt, totalAt, slowAt: this.#slowAt, liveBy: this.#liveBy, lived, silence: this.#silence }, now);
  }

  /** There is no better way, so the leg is waited for on. */
  bear(now: number): void {
    this.#lookAt = now + LOOK_AGAIN_MS;
    if (now >= this.#slowAt) this.#slowAt = now + SLOW_AGAIN * (now - this.#since);
  }
}
