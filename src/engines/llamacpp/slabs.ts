/**
 * Memory to receive KV into and to put states together in, used again and again: fresh memory costs a page fault per 4 KiB, which is as
 * much as receiving itself, and calls the garbage collector, which gets in the way of whatever moves next.
 */
const SMALLEST = 1 << 20;

export class Slabs {
  readonly #keepBytes: number;
  readonly #free: Uint8Array[] = [];
  #freeBytes = 0;

  /** @param keepBytes free memory kept at most. */
  constructor(keepBytes: number) {
    this.#keepBytes = keepBytes;
  }

  /** At least `bytes` long; give it back with `release` when no view of it is used any more. */
  take(bytes: number): Uint8Array {
    const at = this.#free.findIndex((slab) => slab.length >= bytes);
    const [slab] = at < 0 ? [] : this.#free.splice(at, 1);
    if (!slab) return this.#fresh(bytes);
    this.#freeBytes -= slab.length;
    return slab;
  }

  /** Has a free slab of that size from now on, unless it is larger than what is kept. Costs address space until it is used. */
  reserve(bytes: number): void {
    if (bytes <= this.#keepBytes) this.release(this.#fresh(bytes));
  }

  /** Takes `bytes` for the time of `use`. */
  lend<T>(bytes: number, use: (slab: Uint8Array) => T): T {
    const slab = this.take(bytes);
    try {
      return use(slab);
    } finally {
      this.release(slab);
    }
  }

  release(slab: Uint8Array): void {
    if (this.#freeBytes + slab.length > this.#keepBytes) return;
    this.#free.push(slab);
    this.#free.sort((a, b) => a.length - b.length);
    this.#freeBytes += slab.length;
  }

  #fresh(bytes: number): Uint8Array {
    return new Uint8Array(2 ** Math.ceil(Math.log2(Math.max(SMALLEST, bytes))));
  }
}
