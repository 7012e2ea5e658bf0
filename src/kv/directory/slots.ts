/**
 * Bit positions for instances. Taking one away from an instance is O(1): the position leaves the live ones at once, and is given out
 * again only after a sweep has cleared its bit in every set.
 *
 * A position is in one of four sets: free, live, retired (waits for the next sweep to start), sweeping.
 */
export class Slots {
  readonly #live: Uint32Array;
  readonly #sweeping: Uint32Array;
  readonly #free: number[];
  #retired: number[] = [];
  #swept: number[] = [];
  #wordsUsed = 0;

  /** @param words of 32 positions each. */
  constructor(words: number) {
    this.#live = new Uint32Array(words);
    this.#sweeping = new Uint32Array(words);
    this.#free = Array.from({ length: words * 32 }, (_, index) => words * 32 - 1 - index);
  }

  /** Live positions, one bit each. */
  get live(): Uint32Array {
    return this.#live;
  }

  /** Positions that the running sweep clears. */
  get sweeping(): Uint32Array {
    return this.#sweeping;
  }

  /** Words of `live` that can hold a bit; the lowest free position is taken first. */
  get wordsUsed(): number {
    return this.#wordsUsed;
  }

  /** A free position, now live; -1 when a sweep must come first. */
  take(): number {
    const slot = this.#free.pop();
    if (slot === undefined) return -1;
    this.#wordsUsed = Math.max(this.#wordsUsed, (slot >>> 5) + 1);
    this.#live[slot >>> 5] = (this.#live[slot >>> 5] as number) | (1 << (slot & 31));
    return slot;
  }

  retire(slot: number): void {
    this.#live[slot >>> 5] = (this.#live[slot >>> 5] as number) & ~(1 << (slot & 31));
    this.#retired.push(slot);
  }

  /** A sweep over all sets starts: it clears what was retired until now. False when there is nothing to clear. */
  startSweep(): boolean {
    this.#swept = this.#retired;
    this.#retired = [];
    for (const slot of this.#swept) this.#sweeping[slot >>> 5] = (this.#sweeping[slot >>> 5] as number) | (1 << (slot & 31));
    return this.#swept.length > 0;
  }

  /** Every set was cleared since `startSweep`. */
  endSweep(): void {
    this.#free.push(...this.#swept);
    this.#swept = [];
    this.#sweeping.fill(0);
  }
}
