/**
 * What stores below the instances hold, as instances tell it: store → blocks, in a block index of its own, so that the many blocks of a
 * store push nothing out that instances hold.
 *
 * A store outlives who tells of it. What it holds counts until somebody tells that it is gone, or room is needed.
 */
import { BlockIndex } from './blockindex.ts';
import type { Cells } from './cells.ts';
import { ChainWalk } from './match.ts';
import { KIND } from './owners.ts';
import { Slots } from './slots.ts';

export interface StoreIndexOptions {
  readonly cells: Cells;
  readonly slotWords: number;
  readonly maxSetBytes: number;
  /** Stores known of at most; one that no instance has gives way. */
  readonly maxStores: number;
}

/** Sets of owners cleared per change while a sweep runs. */
const SWEEP_SETS = 64;

export class StoreIndex {
  readonly #maxStores: number;
  readonly #slots: Slots;
  readonly #index: BlockIndex;
  readonly #walk: ChainWalk;
  /** Store → slot, the one that was joined longest ago first. */
  readonly #slotOf = new Map<string, number>();
  /** Instance → store. */
  readonly #storeOf = new Map<string, string>();

  constructor({ cells, slotWords, maxSetBytes, maxStores }: StoreIndexOptions) {
    this.#maxStores = maxStores;
    this.#slots = new Slots(slotWords);
    this.#walk = new ChainWalk(slotWords);
    this.#index = new BlockIndex({ cells, slots: this.#slots, slotWords, maxSetBytes, onAnswered: () => undefined });
  }

  /** Blocks known of. */
  get size(): number {
    return this.#index.size;
  }

  /** What `instance` tells is of `store` from now on; null = of none. */
  join(instance: string, store: string | null): void {
    this.#storeOf.delete(instance);
    if (store === null) return;
    const slot = this.#slotOf.get(store) ?? this.#take();
    if (slot < 0) return;
    this.#slotOf.delete(store);
    this.#slotOf.set(store, slot);
    this.#storeOf.set(instance, store);
  }

  /** `instance` told that its store has `keys`, or has them no more. */
  change(instance: string, keys: Float64Array, holds: boolean): void {
    const slot = this.#slotOf.get(this.#storeOf.get(instance) ?? '');
    if (slot === undefined || keys.length === 0) return;
    this.#index.sweep(SWEEP_SETS);
    this.#index.change(keys, { slot, kind: KIND.host, holds });
  }

  /** Leading blocks of `keys` that each store has. */
  reach(keys: Float64Array): ReadonlyMap<string, number> {
    const found = new Map<string, number>();
    this.#index.follow(keys, this.#walk);
    for (const [store, slot] of this.#slotOf) {
      const blocks = this.#walk.held.depths[slot] as number;
      if (blocks > 0) found.set(store, blocks);
    }
    return found;
  }

  /** -1 when all stores are some instance's. */
  #take(): number {
    if (this.#slotOf.size >= this.#maxStores) {
      const used = new Set(this.#storeOf.values());
      const idle = [...this.#slotOf].find(([store]) => !used.has(store));
      if (idle === undefined) return -1;
      this.#slotOf.delete(idle[0]);
      this.#slots.retire(idle[1]);
    }
    const slot = this.#slots.take();
    if (slot >= 0) return slot;
    for (let sweeps = 0; sweeps < 2; sweeps++) this.#index.sweep(Number.POSITIVE_INFINITY);
    return this.#slots.take();
  }
}
