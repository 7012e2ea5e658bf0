/**
 * Block key → row → who holds it, in flat arrays: one bit per instance slot and kind. A hash table of Int32 points at rows; the rows
 * carry key, bits and a mark of use. Full, the table forgets the oldest row that was not used again since the last time around ("clock").
 *
 * Keys are numbers from 0 to 2^53 - 1 whose low bits are well mixed (`keyNumber`). Row numbers stay valid until the row is removed.
 */

/** What a bit of a row says of an instance. */
export const KIND = { hbm: 0, host: 1, expected: 2 } as const;
export type Kind = (typeof KIND)[keyof typeof KIND];
const KINDS = 3;

const FIRST_ROWS = 1024;

export class BlockTable {
  readonly #maxRows: number;
  readonly #onRemove: (row: number) => void;
  /** Words of 32 instance slots per row and kind. */
  #words = 1;
  #keys = new Float64Array(FIRST_ROWS);
  #bits = new Uint32Array(FIRST_ROWS * KINDS);
  /** 0 = free, 1 = taken, 2 = taken and used since the hand last came by. */
  #state = new Uint8Array(FIRST_ROWS);
  /** Row + 1 by hash; 0 = empty. Twice as long as the rows, or more. */
  #index = new Int32Array(FIRST_ROWS * 2);
  #free: number[] = [];
  /** Rows from here on were never used. */
  #unused = 0;
  #hand = 0;
  #size = 0;
  #evicted = 0;

  /** @param onRemove called before a row is removed, while its bits still stand. */
  constructor(maxRows: number, onRemove: (row: number) => void) {
    this.#maxRows = maxRows;
    this.#onRemove = onRemove;
  }

  get size(): number {
    return this.#size;
  }

  get evicted(): number {
    return this.#evicted;
  }

  /** Rows to walk over when every row must be seen; some may be free. */
  get rows(): number {
    return this.#unused;
  }

  get words(): number {
    return this.#words;
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
    if (this.#size >= this.#maxRows) this.#evict();
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

  has(row: number, kind: Kind, slot: number): boolean {
    return ((this.bits(row, kind, slot >>> 5) >>> (slot & 31)) & 1) === 1;
  }

  set(row: number, kind: Kind, slot: number): void {
    const at = (row * KINDS + kind) * this.#words + (slot >>> 5);
    this.#bits[at] = (this.#bits[at] as number) | (1 << (slot & 31));
  }

  unset(row: number, kind: Kind, slot: number): void {
    const at = (row * KINDS + kind) * this.#words + (slot >>> 5);
    this.#bits[at] = (this.#bits[at] as number) & ~(1 << (slot & 31));
  }

  /** Clears the slots of `dead` (one word per 32 slots) in a row, which goes when nothing is left. Free rows are passed over. */
  scrub(row: number, dead: Uint32Array): void {
    if (this.#state[row] === 0) return;
    const from = row * KINDS * this.#words;
    for (let word = 0; word < this.#words; word++) {
      const live = ~(dead[word] as number);
      for (let at = from + word; at < from + KINDS * this.#words; at += this.#words) this.#bits[at] = (this.#bits[at] as number) & live;
    }
    this.removeIfEmpty(row);
  }

  removeIfEmpty(row: number): void {
    if (this.#state[row] === 0) return;
    const from = row * KINDS * this.#words;
    for (let at = from; at < from + KINDS * this.#words; at++) if (this.#bits[at] !== 0) return;
    this.#remove(row);
  }

  /** Makes room for `words` * 32 slots. */
  widen(words: number): void {
    const old = this.#bits;
    const oldWords = this.#words;
    this.#words = words;
    this.#bits = new Uint32Array(this.#keys.length * KINDS * words);
    for (let group = 0; group < this.#unused * KINDS; group++) {
      this.#bits.set(old.subarray(group * oldWords, (group + 1) * oldWords), group * words);
    }
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

  #evict(): void {
    for (;;) {
      const row = this.#hand;
      this.#hand = (this.#hand + 1) % this.#unused;
      if (this.#state[row] === 1) {
        this.#evicted += 1;
        this.#remove(row);
        return;
      }
      if (this.#state[row] === 2) this.#state[row] = 1;
    }
  }

  #point(row: number): void {
    const mask = this.#index.length - 1;
    let at = hash(this.#keys[row] as number) & mask;
    while (this.#index[at] !== 0) at = (at + 1) & mask;
    this.#index[at] = row + 1;
  }

  #remove(row: number): void {
    this.#onRemove(row);
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
