/**
 * The structure that the directory had before the block index, for the index bench: block key → row → one bit per instance slot and kind.
 * Without its eviction and its sweep, which the bench does not ask for.
 */
import { Reach } from '../../src/kv/directory/match.ts';
import { KIND, type Kind } from '../../src/kv/directory/owners.ts';

const KINDS = 3;

const FIRST_ROWS = 1024;

export class Rows {
  /** Words of 32 instance slots per row and kind. */
  readonly #words: number;
  #keys = new Float64Array(FIRST_ROWS);
  #bits: Uint32Array;
  /** 0 = free, 1 = taken, 2 = taken and used since the hand last came by. */
  #state = new Uint8Array(FIRST_ROWS);
  /** Row + 1 by hash; 0 = empty. Twice as long as the rows, or more. */
  #index = new Int32Array(FIRST_ROWS * 2);
  #free: number[] = [];
  /** Rows from here on were never used. */
  #unused = 0;
  #size = 0;

  constructor(words: number) {
    this.#words = words;
    this.#bits = new Uint32Array(FIRST_ROWS * KINDS * words);
  }

  get size(): number {
    return this.#size;
  }

  /** Row of `key`, or -1. */
  find(key: number): number {
    const mask = this.#index.length - 1;
    for (let at = hash(key) & mask; ; at = (at + 1) & mask) {
      const row = (this.#index[at] as number) - 1;
      if (row < 0 || this.#keys[row] === key) return row;
    }
  }

  /** Row of `key`, marked as used lately. -1 when there is none. */
  use(key: number): number {
    const row = this.find(key);
    if (row >= 0) this.#state[row] = 2;
    return row;
  }

  /** Row of `key`, which is made if need be. */
  add(key: number): number {
    const found = this.use(key);
    if (found >= 0) return found;
    const row = this.#free.pop() ?? this.#newRow();
    this.#keys[row] = key;
    this.#state[row] = 1;
    this.#size += 1;
    this.#point(row);
    return row;
  }

  /** Word `word` of the bits of a kind. */
  bits(row: number, kind: Kind, word: number): number {
    return this.#bits[(row * KINDS + kind) * this.#words + word] as number;
  }

  set(row: number, kind: Kind, slot: number): void {
    const at = (row * KINDS + kind) * this.#words + (slot >>> 5);
    this.#bits[at] = (this.#bits[at] as number) | (1 << (slot & 31));
  }

  unset(row: number, kind: Kind, slot: number): void {
    const at = (row * KINDS + kind) * this.#words + (slot >>> 5);
    this.#bits[at] = (this.#bits[at] as number) & ~(1 << (slot & 31));
  }

  removeIfEmpty(row: number): void {
    if (this.#state[row] === 0) return;
    const from = row * KINDS * this.#words;
    for (let at = from; at < from + KINDS * this.#words; at++) if (this.#bits[at] !== 0) return;
    this.#remove(row);
  }

  #newRow(): number {
    if (this.#unused === this.#keys.length) this.#grow();
    return this.#unused++;
  }

  #grow(): void {
    const rows = this.#keys.length * 2;
    this.#keys = grown(this.#keys, new Float64Array(rows));
    this.#state = grown(this.#state, new Uint8Array(rows));
    this.#bits = grown(this.#bits, new Uint32Array(rows * KINDS * this.#words));
    this.#index = new Int32Array(rows * 2);
    for (let row = 0; row < this.#unused; row++) if (this.#state[row] !== 0) this.#point(row);
  }

  #point(row: number): void {
    const mask = this.#index.length - 1;
    let at = hash(this.#keys[row] as number) & mask;
    while (this.#index[at] !== 0) at = (at + 1) & mask;
    this.#index[at] = row + 1;
  }

  #remove(row: number): void {
    this.#unpoint(row);
    this.#bits.fill(0, row * KINDS * this.#words, (row + 1) * KINDS * this.#words);
    this.#state[row] = 0;
    this.#size -= 1;
    this.#free.push(row);
  }

  /** Takes a row out of the index and closes the hole, so that no search stops too early (linear probing, backward shift). */
  #unpoint(row: number): void {
    const mask = this.#index.length - 1;
    let hole = hash(this.#keys[row] as number) & mask;
    while (this.#index[hole] !== row + 1) hole = (hole + 1) & mask;
    for (let at = (hole + 1) & mask; ; at = (at + 1) & mask) {
      const other = this.#index[at] as number;
      if (other === 0) break;
      const home = hash(this.#keys[other - 1] as number) & mask;
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      this.#index[hole] = other;
      hole = at;
    }
    this.#index[hole] = 0;
  }
}

/** The low 32 bits. */
function hash(key: number): number {
  return key | 0;
}

function grown<T extends Float64Array | Uint8Array | Uint32Array>(old: T, next: T): T {
  next.set(old);
  return next;
}

/** Walks chains of keys through the table. What it found stands until the next walk. */
export class RowsWalk {
  #words = 0;
  hbm = new Reach(0);
  host = new Reach(0);
  held = new Reach(0);
  expected = new Reach(0);

  /** Finds the depths of the slots in `live`; those of other slots mean nothing. */
  walk(table: Rows, live: Uint32Array, keys: ArrayLike<number>): void {
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
  #step(table: Rows, row: number, depth: number): boolean {
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
