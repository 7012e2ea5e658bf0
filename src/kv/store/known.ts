/**
 * Keys of blocks that a process knows to be stored. In two generations, so that forgetting costs nothing: a set that loses its oldest one by
 * one is slow to find the next.
 */
const MOST = 1_000_000;

export class KnownKeys {
  readonly #generation: number;
  #old = new Set<string>();
  #young = new Set<string>();

  /** @param most the longest known, up to half of them, are forgotten when there would be more */
  constructor(most = MOST) {
    this.#generation = Math.ceil(most / 2);
  }

  has(key: string): boolean {
    return this.#young.has(key) || this.#old.has(key);
  }

  /** True when it was not known. */
  add(key: string): boolean {
    if (this.has(key)) return false;
    if (this.#young.size >= this.#generation) {
      this.#old = this.#young;
      this.#young = new Set();
    }
    this.#young.add(key);
    return true;
  }

  /** True when it was known. */
  remove(key: string): boolean {
    return this.#young.delete(key) || this.#old.delete(key);
  }

  /** The last that became known, at most `limit`, oldest first. */
  keys(limit: number): string[] {
    const keys: string[] = [];
    let left = Math.max(0, this.#old.size + this.#young.size - limit);
    for (const generation of [this.#old, this.#young]) {
      for (const key of generation) {
        if (left > 0) left -= 1;
        else keys.push(key);
      }
    }
    return keys;
  }
}
