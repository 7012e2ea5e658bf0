/** The last few hundred values of something, for percentiles of now. */
const SIZE = 512;

export class Recent {
  readonly #values = new Float64Array(SIZE);
  #count = 0;

  add(value: number): void {
    this.#values[this.#count++ % SIZE] = value;
  }

  /** Nearest-rank percentile, `share` in (0, 1]; null when nothing was added. */
  percentile(share: number): number | null {
    const size = Math.min(this.#count, SIZE);
    if (size === 0) return null;
    const sorted = this.#values.slice(0, size).sort();
    return sorted[Math.max(0, Math.ceil(share * size) - 1)] ?? null;
  }
}
