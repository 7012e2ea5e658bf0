/**
 * A byte budget as a token bucket that may go into debt: a transfer takes what it moved and then waits until the debt is paid, so
 * that blocks of any size fit and the mean rate holds over any time longer than one burst.
 */
export class TokenBucket {
  readonly bytesPerSecond: number;
  readonly burstBytes: number;
  #level: number;
  #at: number;

  /**
   * @param bytesPerSecond more than 0.
   * @param burstBytes bytes that may pass at once after a rest; default: what 50 ms give.
   * @param nowMs the clock's `now()`.
   * @throws RangeError when a rate is not a positive number.
   */
  constructor(bytesPerSecond: number, nowMs: number, burstBytes: number = bytesPerSecond / 20) {
    if (!(bytesPerSecond > 0)) throw new RangeError(`bytesPerSecond: expected a number above 0, got ${bytesPerSecond}`);
    if (!(burstBytes >= 0)) throw new RangeError(`burstBytes: expected 0 or more, got ${burstBytes}`);
    this.bytesPerSecond = bytesPerSecond;
    this.burstBytes = burstBytes;
    this.#level = burstBytes;
    this.#at = nowMs;
  }

  /** Takes `bytes` and returns the milliseconds to wait before moving more; 0 = go on. */
  take(bytes: number, nowMs: number): number {
    const earned = (Math.max(0, nowMs - this.#at) / 1000) * this.bytesPerSecond;
    this.#level = Math.min(this.burstBytes, this.#level + earned) - bytes;
    this.#at = Math.max(this.#at, nowMs);
    return this.#level >= 0 ? 0 : (-this.#level / this.bytesPerSecond) * 1000;
  }
}

/** Peers whose budget is remembered; beyond that the longest unused starts anew. */
const MAX_PEERS = 1024;

/** One byte budget per peer. */
export class PeerBudgets {
  readonly bytesPerSecond: number;
  readonly #buckets = new Map<string, TokenBucket>();

  /** @throws RangeError when the rate is not a positive number. */
  constructor(bytesPerSecond: number) {
    if (!(bytesPerSecond > 0)) throw new RangeError(`bytesPerSecond: expected a number above 0, got ${bytesPerSecond}`);
    this.bytesPerSecond = bytesPerSecond;
  }

  of(peer: string, nowMs: number): TokenBucket {
    const bucket = this.#buckets.get(peer) ?? new TokenBucket(this.bytesPerSecond, nowMs);
    this.#buckets.delete(peer);
    this.#buckets.set(peer, bucket);
    if (this.#buckets.size > MAX_PEERS) {
      const [oldest] = this.#buckets.keys();
      if (oldest !== undefined) this.#buckets.delete(oldest);
    }
    return bucket;
  }
}
