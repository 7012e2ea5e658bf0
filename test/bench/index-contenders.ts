/** Who takes part in the index bench. All do the same: owners of blocks, and how far each reaches along a chain. */
import { BlockIndex } from '../../src/kv/directory/blockindex.ts';
import type { Cells } from '../../src/kv/directory/cells.ts';
import { ChainWalk } from '../../src/kv/directory/match.ts';
import { KIND } from '../../src/kv/directory/owners.ts';
import { ScriptCells } from '../../src/kv/directory/scriptcells.ts';
import { Slots } from '../../src/kv/directory/slots.ts';
import { WasmCells } from '../../src/kv/directory/wasmcells.ts';
import { Rows, RowsWalk } from './index-rows.ts';

export const INSTANCES = 256;
export const CHAIN_BLOCKS = 512;
const WORDS = INSTANCES / 32;
const MAX_ROWS_BLOCKS = 1_000_000;

export interface IndexUnderTest {
  add(keys: Float64Array, owner: number): void;
  remove(keys: Float64Array, owner: number): void;
  /** How many instances hold the first block; the depth of each is found on the way. */
  lookup(keys: Float64Array): number;
  readonly size: number;
  /** Memory that is neither heap nor array buffer. */
  readonly uncountedBytes: number;
}

export interface Contender {
  readonly name: string;
  readonly make: () => IndexUnderTest;
}

export function contendersFor(blocks: number): Contender[] {
  return [
    {
      name: 'wasm',
      make: () => {
        const cells = new WasmCells(blocks);
        return indexOver(cells, cells.words.buffer.byteLength);
      },
    },
    { name: 'typescript', make: () => indexOver(new ScriptCells(blocks), 0) },
    ...(blocks <= MAX_ROWS_BLOCKS ? [{ name: 'rows', make: rows }] : []),
    { name: 'map', make: () => new MapIndex() },
  ];
}

function indexOver(cells: Cells, uncountedBytes: number): IndexUnderTest {
  const slots = new Slots(WORDS);
  for (let slot = 0; slot < INSTANCES; slot++) slots.take();
  const index = new BlockIndex({ cells, slots, slotWords: WORDS, maxSetBytes: cells.words.byteLength / 3, onAnswered: () => {} });
  const walk = new ChainWalk(WORDS);
  return {
    add: (keys, slot) => index.change(keys, { slot, kind: KIND.hbm, holds: true }),
    remove: (keys, slot) => index.change(keys, { slot, kind: KIND.hbm, holds: false }),
    lookup: (keys) => {
      index.follow(keys, walk);
      return holders(walk.expected.depths);
    },
    get size() {
      return index.size;
    },
    uncountedBytes,
  };
}

function rows(): IndexUnderTest {
  const table = new Rows(WORDS);
  const walk = new RowsWalk();
  const live = new Uint32Array(WORDS).fill(0xffff_ffff);
  return {
    add: (keys, slot) => {
      for (const key of keys) table.set(table.add(key), KIND.hbm, slot);
    },
    remove: (keys, slot) => {
      for (const key of keys) {
        const row = table.find(key);
        table.unset(row, KIND.hbm, slot);
        table.removeIfEmpty(row);
      }
    },
    lookup: (keys) => {
      walk.walk(table, live, keys);
      return holders(walk.expected.depths);
    },
    get size() {
      return table.size;
    },
    uncountedBytes: 0,
  };
}

function holders(depths: Int32Array): number {
  let count = 0;
  for (let slot = 0; slot < depths.length; slot++) if (depths[slot] !== 0) count += 1;
  return count;
}

class MapIndex implements IndexUnderTest {
  readonly uncountedBytes = 0;
  readonly #owners = new Map<number, number | Set<number>>();

  get size(): number {
    return this.#owners.size;
  }

  add(keys: Float64Array, owner: number): void {
    for (const key of keys) {
      const owners = this.#owners.get(key);
      if (owners === undefined) this.#owners.set(key, owner);
      else if (typeof owners === 'number') this.#owners.set(key, new Set([owners, owner]));
      else owners.add(owner);
    }
  }

  remove(keys: Float64Array, owner: number): void {
    for (const key of keys) {
      const owners = this.#owners.get(key);
      if (typeof owners === 'object' && owners.delete(owner) && owners.size > 0) continue;
      this.#owners.delete(key);
    }
  }

  lookup(keys: Float64Array): number {
    const depths = new Map<number, number>();
    let left: Set<number> | null = null;
    for (let depth = 0; depth < keys.length; depth++) {
      const owners = this.#owners.get(keys[depth] as number);
      if (owners === undefined) break;
      if (left === null) left = new Set(typeof owners === 'number' ? [owners] : owners);
      for (const owner of left) {
        if (typeof owners === 'number' ? owners === owner : owners.has(owner)) depths.set(owner, depth + 1);
        else left.delete(owner);
      }
      if (left.size === 0) break;
    }
    return depths.size;
  }
}
