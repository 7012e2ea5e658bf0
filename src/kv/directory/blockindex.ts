/**
 * Block key → who holds the block: cells name sets of owners. All it takes is known beforehand: 18 bytes per block for cells, and a share
 * for sets. When either is full, blocks that were not used lately are forgotten.
 *
 * A chunk of a chain goes through in runs: as long as blocks have the same set, they get the same new one, in one call of the cells.
 */
import { CELL_WORDS, type Cells, MAX_KEYS } from './cells.ts';
import type { ChainWalk } from './match.ts';
import { type Change, KIND, NOBODY, OwnerSets } from './owners.ts';
import type { Slots } from './slots.ts';

export interface BlockIndexOptions {
  readonly cells: Cells;
  readonly slots: Slots;
  readonly slotWords: number;
  /** For sets of owners at most. */
  readonly maxSetBytes: number;
  /** A block that was expected at a slot arrived there or was forgotten. */
  readonly onAnswered: (key: number, slot: number) => void;
}

/** Blocks forgotten at once when there is no room for one more set. */
const MAKE_ROOM_BLOCKS = 64;
const MAKE_ROOM_ROUNDS = 3;
/** Cells looked at by every part of a sweep, while some are of blocks that nobody holds. */
const SWEEP_CELLS = 1024;

export class BlockIndex {
  readonly #cells: Cells;
  readonly #slots: Slots;
  readonly #sets: OwnerSets;
  readonly #onAnswered: (key: number, slot: number) => void;
  #evicted = 0;
  /** Blocks go for one more set of owners only once per call of the cells, so that no event costs more than a few of them. */
  #mayMakeRoom = true;
  /** Next set of the running sweep; 0 when none runs. */
  #sweepSet = 0;
  #sweepCell = 0;

  constructor({ cells, slots, slotWords, maxSetBytes, onAnswered }: BlockIndexOptions) {
    this.#cells = cells;
    this.#slots = slots;
    this.#sets = new OwnerSets(slotWords, maxSetBytes);
    this.#onAnswered = onAnswered;
  }

  /** Blocks that somebody holds or is expected to hold, as far as sweeps have come. */
  get size(): number {
    return this.#cells.size - this.#sets.emptied;
  }

  /** Blocks forgotten to make room. */
  get evicted(): number {
    return this.#evicted;
  }

  /** Of cells and sets, used or not. */
  get bytes(): number {
    return this.#cells.words.byteLength + this.#sets.bytes;
  }

  /** Changes the owners of `keys`, which are key numbers. */
  change(keys: Float64Array, change: Change): void {
    for (let from = 0; from < keys.length; from += MAX_KEYS) {
      const part = keys.subarray(from, from + MAX_KEYS);
      this.#cells.keys.set(part);
      this.#changeLoaded(part.length, change);
    }
  }

  /** Takes `walk` along the chain of `keys` as far as somebody holds or expects it. Ends at a number that is no key. */
  follow(keys: ArrayLike<number>, walk: ChainWalk): void {
    walk.start(this.#slots.live, this.#slots.wordsUsed);
    let last = NOBODY;
    for (let depth = 0; ; ) {
      const count = this.#load(keys, depth);
      const found = this.#cells.find(count);
      for (let index = 0; index < found; index++, depth++) {
        const set = this.#cells.values[index] as number;
        if (set !== last && !walk.step(this.#sets, set, depth)) return;
        last = set;
      }
      if (found < MAX_KEYS) {
        walk.finish(depth);
        return;
      }
    }
  }

  /** Goes on with clearing out what instances held whose slot was taken away, or starts it, by at most `sets` sets. */
  sweep(sets: number): void {
    this.#sweepCells(SWEEP_CELLS);
    if (this.#sweepSet === 0) {
      if (!this.#slots.startSweep()) return;
      this.#sweepSet = 1;
    }
    const end = Math.min(this.#sets.length, this.#sweepSet + sets);
    for (; this.#sweepSet < end; this.#sweepSet++) this.#sets.scrub(this.#sweepSet, this.#slots.sweeping);
    if (this.#sweepSet < this.#sets.length) return;
    this.#slots.endSweep();
    this.#sweepSet = 0;
  }

  #changeLoaded(count: number, change: Change): void {
    const cells = this.#cells;
    const sets = this.#sets;
    let old: number = NOBODY;
    this.#mayMakeRoom = true;
    if (change.holds) this.#makeRoom(count);
    for (let at = 0; at < count; ) {
      const next = this.#changed(old, change);
      const end = cells.move(at, count, old, next);
      if (change.kind !== KIND.expected && sets.has(old, KIND.expected, change.slot)) this.#answered(at, end, change.slot);
      sets.count(next, end - at);
      sets.count(old, at - end);
      at = end;
      if (at === count) return;
      const met = cells.values[0] as number;
      if (met === NOBODY && old === NOBODY) this.#evict(cells.absent(at, count));
      old = met;
    }
  }

  /** Others go before the keys that are spoken of come, so that none of these goes for the next of them. */
  #makeRoom(count: number): void {
    const cells = this.#cells;
    for (let round = 0; round < MAKE_ROOM_ROUNDS && cells.size + count > cells.limit; round++) {
      // Those that are there already may be among the ones that went, but not twice: asking marked them as used.
      const missing = cells.absent(0, count) - (cells.limit - cells.size);
      if (missing <= 0) return;
      this.#evict(missing);
    }
  }

  /** The set that `old` becomes. Without room for it some owners are left out, and none is named wrongly. */
  #changed(old: number, change: Change): number {
    const { live } = this.#slots;
    const next = this.#sets.changed(old, change, live);
    if (next >= 0) return next;
    if (this.#mayMakeRoom) {
      this.#mayMakeRoom = false;
      // Held on to, since its last block may be among those that go.
      this.#sets.count(old, 1);
      this.#evict(MAKE_ROOM_BLOCKS);
      const again = this.#sets.changed(old, change, live);
      this.#sets.count(old, -1);
      if (again >= 0) return again;
    }
    if (!change.holds) return NOBODY;
    const alone = this.#sets.changed(NOBODY, change, live);
    return alone >= 0 ? alone : old;
  }

  #answered(from: number, end: number, slot: number): void {
    for (let index = from; index < end; index++) this.#onAnswered(this.#cells.keys[index] as number, slot);
  }

  #evict(count: number): void {
    const gone = this.#cells.evict(count);
    for (let index = 0; index < gone; index++) {
      const set = this.#cells.values[index] as number;
      if (!this.#sets.isEmptied(set)) {
        this.#evicted += 1;
        this.#forgetExpected(this.#cells.gone[index] as number, set);
      }
      this.#sets.count(set, -1);
    }
  }

  #forgetExpected(key: number, set: number): void {
    const { live, wordsUsed } = this.#slots;
    for (let word = 0; word < wordsUsed; word++) {
      for (let left = this.#sets.bits(set, KIND.expected, word) & (live[word] as number); left !== 0; ) {
        const bit = 31 - Math.clz32(left);
        left &= ~(1 << bit);
        this.#onAnswered(key, word * 32 + bit);
      }
    }
  }

  /** Empties cells whose owners were all swept away. */
  #sweepCells(cells: number): void {
    const { words, keys } = this.#cells;
    for (let looked = 0; looked < cells && this.#sets.emptied > 0; looked++) {
      if (this.#sweepCell >= words.length) this.#sweepCell = 0;
      const set = (words[this.#sweepCell + 2] as number) >>> 2;
      if (set !== NOBODY && this.#sets.isEmptied(set)) {
        keys[0] = (words[this.#sweepCell + 1] as number) * 0x1_0000_0000 + ((words[this.#sweepCell] as number) >>> 0);
        this.#cells.move(0, 1, set, NOBODY);
        this.#sets.count(set, -1);
      } else this.#sweepCell += CELL_WORDS;
    }
  }

  /** Puts the keys from `from` on where the cells look for them; returns how many. */
  #load(keys: ArrayLike<number>, from: number): number {
    const into = this.#cells.keys;
    const count = Math.min(MAX_KEYS, keys.length - from);
    for (let index = 0; index < count; index++) {
      const key = keys[from + index] as number;
      if (!isKeyNumber(key)) return index;
      into[index] = key;
    }
    return count;
  }
}

export function isKeyNumber(key: number): boolean {
  return Number.isSafeInteger(key) && key >= 0;
}
