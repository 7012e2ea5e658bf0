import { KIND, type OwnerSets } from './owners.ts';

/** How far each slot reaches along a chain, 32 slots at a time: a slot's bit falls out of a running AND at the first block it lacks. */
export class Reach {
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

/** Takes the sets of owners along a chain. What it found stands until the next start. */
export class ChainWalk {
  readonly hbm: Reach;
  readonly host: Reach;
  readonly held: Reach;
  readonly expected: Reach;
  #words = 0;

  constructor(words: number) {
    this.hbm = new Reach(words);
    this.host = new Reach(words);
    this.held = new Reach(words);
    this.expected = new Reach(words);
  }

  /** Depths will be found of the slots in the first `words` words of `live`; those of other slots mean nothing. */
  start(live: Uint32Array, words: number): void {
    this.#words = words;
    this.hbm.start(live);
    this.host.start(live);
    this.held.start(live);
    this.expected.start(live);
  }

  /** The block at `depth` has the owners of `set`. False when no slot is left. */
  step(sets: OwnerSets, set: number, depth: number): boolean {
    let left = 0;
    for (let word = 0; word < this.#words; word++) {
      const hbm = sets.bits(set, KIND.hbm, word);
      const host = sets.bits(set, KIND.host, word);
      const held = hbm | host;
      this.hbm.keep(word, hbm, depth);
      this.host.keep(word, host, depth);
      this.held.keep(word, held, depth);
      left |= this.expected.keep(word, held | sets.bits(set, KIND.expected, word), depth);
    }
    return left !== 0;
  }

  /** The chain ends after `depth` blocks. */
  finish(depth: number): void {
    for (let word = 0; word < this.#words; word++) {
      this.hbm.keep(word, 0, depth);
      this.host.keep(word, 0, depth);
      this.held.keep(word, 0, depth);
      this.expected.keep(word, 0, depth);
    }
  }
}
