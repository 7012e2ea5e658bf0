/**
 * The HBM of a simulated engine: a fixed count of blocks. A block is unfinished (belongs to one sequence, has no name), held (named,
 * used by sequences) or cached (named, used by none, may be evicted; the longest unused first).
 */
import type { KvBlock } from '../../kv/index.ts';

interface HeldBlock {
  readonly block: KvBlock;
  users: number;
}

export class HbmBlocks {
  readonly capacity: number;
  readonly #held = new Map<string, HeldBlock>();
  /** In order of eviction: a Map keeps the order in which keys were added. */
  readonly #cached = new Map<string, KvBlock>();
  #unfinished = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  /** Blocks that cannot be evicted now. */
  get inUse(): number {
    return this.#held.size + this.#unfinished;
  }

  /** Blocks that may be evicted. */
  get cached(): number {
    return this.#cached.size;
  }

  peek(key: string): KvBlock | null {
    return this.#held.get(key)?.block ?? this.#cached.get(key) ?? null;
  }

  *keys(): Iterable<string> {
    yield* this.#cached.keys();
    yield* this.#held.keys();
  }

  /**
   * Takes `count` unfinished blocks. Null when so many cannot be had; then nothing changed. Else the blocks that were evicted.
   */
  reserve(count: number): KvBlock[] | null {
    if (this.inUse + count > this.capacity) return null;
    const evicted: KvBlock[] = [];
    while (this.inUse + this.#cached.size + count > this.capacity) {
      const oldest = this.#cached.entries().next();
      if (oldest.done === true) break;
      this.#cached.delete(oldest.value[0]);
      evicted.push(oldest.value[1]);
    }
    this.#unfinished += count;
    return evicted;
  }

  /** Gives back unfinished blocks. */
  unreserve(count: number): void {
    this.#unfinished -= count;
  }

  /** One unfinished block is done and gets its name. False when another sequence had finished the same one: that one is used, this one freed. */
  commit(block: KvBlock): boolean {
    this.#unfinished -= 1;
    if (this.use(block.key)) return false;
    this.#held.set(block.key, { block, users: 1 });
    return true;
  }

  /** Counts one more user of a named block; false when it is not here. */
  use(key: string): boolean {
    const held = this.#held.get(key);
    if (held) {
      held.users += 1;
      return true;
    }
    const block = this.#cached.get(key);
    if (!block) return false;
    this.#cached.delete(key);
    this.#held.set(key, { block, users: 1 });
    return true;
  }

  /** Ends one use of each block of a chain. Its end is evicted before its start. */
  leave(keys: readonly string[]): void {
    for (let index = keys.length - 1; index >= 0; index -= 1) {
      const key = keys[index] ?? '';
      const held = this.#held.get(key);
      if (!held) continue;
      held.users -= 1;
      if (held.users > 0) continue;
      this.#held.delete(key);
      this.#cached.set(key, held.block);
    }
  }
}
