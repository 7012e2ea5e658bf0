/**
 * Bit positions for instances. Taking one away from an instance is O(1): the position leaves the live ones at once, and is given out
 * again only after a sweep has cleared its bit in every row.
 *
 * A position is in one of four sets: free, live, retired (waits for the next sweep to start), sweeping.
 */
export class Slots {
  #live = new Uint32Array(1);
  #sweeping = new Uint32Array(1);
  #free: number[] = downFrom(31, 0);
  #retired: number[] = [];
  #swept: number[] = [];

  /** Live positions, one bit each. */
  get live(): Uint32Array {
    return this.#live;
  }

  /** Positions that the running sweep clears. */
  get sweeping(): Uint32Array {
    return this.#sweeping;
  }

  get words(): number {
    return this.#live.length;
  }

  /** Positions that are neither free nor live. */
  get dead(): number {
    return this.#retired.length + this.#swept.length;
  }

  /** A free position, now live; -1 when a sweep or `widen` must come first. */
  take(): number {
    const slot = this.#free.pop();
    if (slot === undefined) return -1;
    this.#live[slot >>> 5] = (this.#live[slot >>> 5] as number) | (1 << (slot & 31));
    return slot;
  }

  retire(slot: number): void {
    this.#live[slot >>> 5] = (this.#live[slot >>> 5] as number) & ~(1 << (slot & 31));
    this.#retired.push(slot);
  }

  /** A sweep over all rows starts: it clears what was retired until now. False when there is nothing to clear. */
  startSweep(): boolean {
    this.#swept = this.#retired;
    this.#retired = [];
    for (const slot of this.#swept) this.#sweeping[slot >>> 5] = (this.#sweeping[slot >>> 5] as number) | (1 << (slot & 31));
    return this.#swept.length > 0;
  }

  /** Every row was cleared since `startSweep`. */
  endSweep(): void {
    this.#free.push(...this.#swept);
    this.#swept = [];
    this.#sweeping.fill(0);
  }

  /** Twice as many positions. */
  widen(): void {
    const words = this.words * 2;
    this.#free.push(...downFrom(words * 32 - 1, this.words * 32));
    this.#live = widened(this.#live, words);
    this.#sweeping = widened(this.#sweeping, words);
  }
}

function downFrom(high: number, low: number): number[] {
  return Array.from({ length: high - low + 1 }, (_, index) => high - index);
}

function widened(bits: Uint32Array, words: number): Uint32Array<ArrayBuffer> {
  const wide = new Uint32Array(words);
  wide.set(bits);
  return wide;
}
