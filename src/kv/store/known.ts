/** Keys of blocks that a process knows to be stored, each with its group. The longest unheard of are forgotten beyond the bound. */
const MOST = 1_000_000;

export class KnownKeys {
  readonly #groups = new Map<string, string>();
  readonly #most: number;

  constructor(most: number = MOST) {
    this.#most = most;
  }

  has(key: string): boolean {
    return this.#groups.has(key);
  }

  /** True when it was not known. */
  add(key: string, group: string): boolean {
    const known = this.#groups.has(key);
    this.#groups.set(key, group);
    if (this.#groups.size > this.#most) {
      const [oldest] = this.#groups.keys();
      if (oldest !== undefined) this.#groups.delete(oldest);
    }
    return !known;
  }

  /** True when it was known. */
  remove(key: string): boolean {
    return this.#groups.delete(key);
  }

  /** Keys known to be in that group. Walks all: for damage, which is rare. */
  keysOf(group: string): string[] {
    return [...this.#groups].flatMap(([key, of]) => (of === group ? [key] : []));
  }

  keys(limit: number): string[] {
    const keys: string[] = [];
    for (const key of this.#groups.keys()) {
      if (keys.length >= limit) break;
      keys.push(key);
    }
    return keys;
  }
}
