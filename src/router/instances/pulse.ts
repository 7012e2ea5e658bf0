/**
 * Signs of life of one instance: lines of its feed, bytes of its answers and, of an engine beside an agent, what the agent says of it.
 *
 * Invariants
 * - Only time that this process ran is counted: a router that stood still has not heard that the instance said nothing.
 * - How much silence is too much follows from the silences that ended by themselves, within bounds: an instance that is often starved
 *   of CPU is given more time than one that never is.
 */
export interface Silence {
  /** Milliseconds without a sign of life. */
  readonly ms: number;
  /** `instance`: nothing at all came from it; `engine`: its agent lives and says that the engine does not answer. */
  readonly of: 'instance' | 'engine';
}

/** Loads come every 200 ms. */
const FEED = { leastMs: 1_000, mostMs: 3_000 };
/** An API server that works hard may keep its agent waiting for seconds. */
const ENGINE = { leastMs: 3_000, mostMs: 10_000 };
/** A silence of this many usual ones is no usual one. */
const UNUSUAL = 3;
/** What is left of a long silence in what counts as usual, a silence later: a half after 70 lines, 14 s. */
const FADING = 0.99;

export class Pulse {
  readonly #feedPatience = new Patience(FEED);
  readonly #enginePatience = new Patience(ENGINE);
  #tickAt: number;
  #lineMs = 0;
  #answerMs = Number.POSITIVE_INFINITY;
  #engineMs = 0;
  #aliveAt = 0;
  /** A line came since the feed was connected: only from then on its rhythm says something. */
  #steady = false;

  /** @param now monotonic milliseconds, as for `tick` */
  constructor(now: number) {
    this.#tickAt = now;
  }

  /** Milliseconds since the last line of its feed. */
  get quietMs(): number {
    return this.#lineMs;
  }

  /** When it, or the engine behind its agent, was last known to live: monotonic milliseconds. */
  get aliveAt(): number {
    return this.#aliveAt;
  }

  /** A silence that is too long for one that works; null = it lives. */
  get silence(): Silence | null {
    const quietMs = Math.min(this.#lineMs, this.#answerMs);
    if (quietMs > this.#feedPatience.ms) return { ms: quietMs, of: 'instance' };
    const engineMs = Math.min(this.#engineMs, this.#answerMs);
    return engineMs > this.#enginePatience.ms ? { ms: engineMs, of: 'engine' } : null;
  }

  /** Time goes on. @param mostMs what is counted of the time since the last call at most: longer, and this process stood still */
  tick(now: number, mostMs: number): void {
    const ms = Math.min(now - this.#tickAt, mostMs);
    this.#tickAt = now;
    this.#lineMs += ms;
    this.#answerMs += ms;
  }

  /** Its feed is connected anew. */
  connected(): void {
    this.#lineMs = 0;
    this.#engineMs = 0;
    this.#steady = false;
  }

  /** A part of a line: a snapshot names all that an instance holds, and may take its time. */
  moved(): void {
    this.#lineMs = 0;
    this.#steady = false;
  }

  /** A line of its feed. */
  heard(): void {
    if (this.#steady) this.#feedPatience.ended(this.#lineMs);
    this.#steady = true;
    this.#lineMs = 0;
  }

  /** Bytes of an answer of it, to whichever request. */
  answered(now: number): void {
    this.#answerMs = 0;
    this.#aliveAt = now;
  }

  /** @param quietMs how long the engine has not answered its agent, as the agent says; 0 of an engine that speaks for itself */
  told(quietMs: number, now: number): void {
    this.#aliveAt = Math.max(this.#aliveAt, now - quietMs);
    if (quietMs < this.#engineMs) this.#enginePatience.ended(this.#engineMs);
    this.#engineMs = quietMs;
  }
}

class Patience {
  readonly #bounds: { readonly leastMs: number; readonly mostMs: number };
  #usualMs = 0;

  constructor(bounds: { readonly leastMs: number; readonly mostMs: number }) {
    this.#bounds = bounds;
  }

  get ms(): number {
    const { leastMs, mostMs } = this.#bounds;
    return Math.min(mostMs, Math.max(leastMs, UNUSUAL * this.#usualMs));
  }

  /** A silence ended by itself. A very long one is no reason to wait ever longer for the next. */
  ended(ms: number): void {
    this.#usualMs = Math.max(Math.min(ms, this.#bounds.mostMs / UNUSUAL), this.#usualMs * FADING);
  }
}
