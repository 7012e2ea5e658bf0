import type { KvBlock } from './block.ts';

/** A held block and its place in the eviction order. `older` and `newer` are null outside it. */
export interface Held {
  readonly block: KvBlock;
  /** Leases (and running calls) that keep the block. */
  pins: number;
  /** Keeps that hold the block; each is one of its pins. */
  keeps: number;
  older: Held | null;
  newer: Held | null;
}

/** Blocks that may be forgotten, oldest first: a doubly linked list, so that every operation is O(1). */
export class EvictionOrder {
  #oldest: Held | null = null;
  #newest: Held | null = null;

  /** Makes `held` the newest, whether or not it was in the order. */
  touch(held: Held): void {
    if (this.#newest === held) return;
    this.remove(held);
    held.older = this.#newest;
    if (this.#newest) this.#newest.newer = held;
    else this.#oldest = held;
    this.#newest = held;
  }

  /** Takes `held` out; nothing happens when it is not in the order. */
  remove(held: Held): void {
    if (held.older) held.older.newer = held.newer;
    else if (this.#oldest === held) this.#oldest = held.newer;
    if (held.newer) held.newer.older = held.older;
    else if (this.#newest === held) this.#newest = held.older;
    held.older = null;
    held.newer = null;
  }

  takeOldest(): Held | null {
    const held = this.#oldest;
    if (held) this.remove(held);
    return held;
  }

  clear(): void {
    this.#oldest = null;
    this.#newest = null;
  }
}
