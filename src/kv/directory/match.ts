import { type BlockTable, KIND } from './table.ts';

/** How far each slot reaches along a chain, 32 slots at a time: a slot's bit falls out of a running AND at the first block it lacks. */
class Reach {
  /** Leading blocks per slot, once its bit fell out. */
  readonly depths: Int32Array;
  readonly #in: Int32Array;

  constructor(words: number) {
    this.depths = new Int32Array(words * 32);
    this.#in = new Int32Array(words);
  }

  start(live: Uint32Array): void {
    this.#in.set(live);
  }

  /** Keeps those of 32 slots that hold the block at `depth`, and returns which are still in. */
  keep(word: number, holders: number, depth: number): number {
    const before = this.#in[word] as number;
    const after = before & holders;
    if (after === before) return after;
    this.#in[word] = after;
    for (let fallen = before & ~holders; fallen !== 0; ) {
      const bit = 31 - Math.clz32(fallen);
      this.depths[word * 32 + bit] = depth;
      fallen &= ~(1 << bit);
    }
    return after;
  }
}

/** Walks chains of keys through the table. What it found stands until the next walk. */
export class ChainWalk {
  #words = 0;
  hbm = new Reach(0);
  host = new Reach(0);
  held = new Reach(0);
  expected = new Reach(0);

  /** Finds the depths of the slots in `live`; those of other slots mean nothing. */
  walk(table: BlockTable, live: Uint32Array, keys: ArrayLike<number>): void {
    this.#start(live);
    let depth = 0;
    for (; depth < keys.length; depth++) {
      const row = table.use(keys[depth] as number);
      if (row < 0 || !this.#step(table, row, depth)) break;
    }
    for (let word = 0; word < this.#words; word++) {
      this.hbm.keep(word, 0, depth);
      this.host.keep(word, 0, depth);
      this.held.keep(word, 0, depth);
      this.expected.keep(word, 0, depth);
    }
  }

  #start(live: Uint32Array): void {
    if (this.#words !== live.length) {
      this.#words = live.length;
      this.hbm = new Reach(live.length);
      this.host = new Reach(live.length);
      this.held = new Reach(live.length);
      this.expected = new Reach(live.length);
    }
    this.hbm.start(live);
    this.host.start(live);
    this.held.start(live);
    this.expected.start(live);
  }

  /** Takes one more block. False when no slot is left. */
  #step(table: BlockTable, row: number, depth: number): boolean {
    let left = 0;
    for (let word = 0; word < this.#words; word++) {
      const hbm = table.bits(row, KIND.hbm, word);
      const host = table.bits(row, KIND.host, word);
      const held = hbm | host;
      this.hbm.keep(word, hbm, depth);
      this.host.keep(word, host, depth);
      this.held.keep(word, held, depth);
      left |= this.expected.keep(word, held | table.bits(row, KIND.expected, word), depth);
    }
    return left !== 0;
  }
}
