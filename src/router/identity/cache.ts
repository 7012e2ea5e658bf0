/**
 * A cache with a byte budget that drops what was not used lately. Entries live in two generations: what is used moves to the young
 * one; when that has half of the budget, it becomes the old one and the old one is dropped as a whole. So nothing is deleted one by
 * one, which on a large Map costs more than what is saved.
 */
export class GenerationCache<Key, Value> {
  readonly #generationBytes: number;
  #young = new Map<Key, Entry<Value>>();
  #old = new Map<Key, Entry<Value>>();
  #youngBytes = 0;
  #oldBytes = 0;

  constructor(maxBytes: number) {
    this.#generationBytes = maxBytes / 2;
  }

  /** At most the budget. */
  get bytes(): number {
    return this.#youngBytes + this.#oldBytes;
  }

  get(key: Key): Value | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young.value;
    const old = this.#old.get(key);
    if (old === undefined) return undefined;
    this.#insert(key, old);
    return old.value;
  }

  /** For a key that `get` did not find. @param bytes what key and value take; more than half of the budget is not kept. */
  set(key: Key, value: Value, bytes: number): void {
    this.#insert(key, { value, bytes });
  }

  #insert(key: Key, entry: Entry<Value>): void {
    if (entry.bytes > this.#generationBytes) return;
    if (this.#youngBytes + entry.bytes > this.#generationBytes) {
      this.#old = this.#young;
      this.#oldBytes = this.#youngBytes;
      this.#young = new Map();
      this.#youngBytes = 0;
    }
    this.#young.set(key, entry);
    this.#youngBytes += entry.bytes;
  }
}

interface Entry<Value> {
  readonly value: Value;
  readonly bytes: number;
}
