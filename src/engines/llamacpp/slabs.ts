/**
 * Memory to receive KV into, used again and again: fresh memory costs a page fault per 4 KiB, which is as much as receiving itself.
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
    if (!slab) return new Uint8Array(2 ** Math.ceil(Math.log2(Math.max(SMALLEST, bytes))));
    this.#freeBytes -= slab.length;
    return slab;
  }

  release(slab: Uint8Array): void {
    if (this.#freeBytes + slab.length > this.#keepBytes) return;
    this.#free.push(slab);
    this.#free.sort((a, b) => a.length - b.length);
    this.#freeBytes += slab.length;
  }
}
