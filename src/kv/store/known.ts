/** Keys of blocks that a process knows to be stored. The longest known are forgotten beyond the bound. */
const MOST = 1_000_000;

export class KnownKeys {
  readonly #keys = new Set<string>();

  has(key: string): boolean {
    return this.#keys.has(key);
  }

  /** True when it was not known. */
  add(key: string): boolean {
    if (this.#keys.has(key)) return false;
    this.#keys.add(key);
    if (this.#keys.size > MOST) {
      const [oldest] = this.#keys;
      if (oldest !== undefined) this.#keys.delete(oldest);
    }
    return true;
  }

  /** True when it was known. */
  remove(key: string): boolean {
    return this.#keys.delete(key);
  }

  keys(limit: number): string[] {
    const keys: string[] = [];
    for (const key of this.#keys) {
      if (keys.length >= limit) break;
      keys.push(key);
    }
    return keys;
  }
}
