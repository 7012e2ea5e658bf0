/** `Cells` in TypeScript: the twin of `kernels/blocks.wat`, function for function. */
import { CELL_WORDS, type Cells, capacityFor, GROUP_CELLS, leapFor, MAX_KEYS, scaleFor } from './cells.ts';

/** Cells in use that the hand looks at for one key; then it takes the next whatever its age, so that no request waits for a whole round. */
const MAX_LOOKS = 1024;
const FETCHED_KEYS = 32;
const GROUP_WORDS = GROUP_CELLS * CELL_WORDS;
/** What `#fetch` read, so that the compiler does not leave the reading out. */
const sink = new Int32Array(1);

export class ScriptCells implements Cells {
  readonly keys = new Float64Array(MAX_KEYS);
  readonly gone = new Float64Array(MAX_KEYS);
  readonly values = new Uint32Array(MAX_KEYS);
  readonly words: Int32Array;
  readonly limit: number;
  readonly #scale: number;
  readonly #stride: number;
  #hand = 0;
  #groupEnd = GROUP_WORDS;
  #size = 0;

  /** @param limit keys at most. */
  constructor(limit: number) {
    const capacity = capacityFor(limit);
    this.words = new Int32Array(capacity * CELL_WORDS);
    this.limit = limit;
    this.#scale = scaleFor(capacity);
    this.#stride = leapFor(capacity) * GROUP_WORDS;
  }

  get size(): number {
    return this.#size;
  }

  find(count: number): number {
    const { words } = this;
    for (let index = 0, fetched = 0; index < count; index++) {
      if (index === fetched) fetched = this.#fetch(index, count);
      const cell = this.#probe(this.keys[index] as number);
      const word = words[cell + 2] as number;
      if (word === 0) return index;
      if ((word & 3) !== 3) words[cell + 2] = word | 3;
      this.values[index] = word >>> 2;
    }
    return count;
  }

  absent(from: number, count: number): number {
    let absent = 0;
    for (let index = from, fetched = from; index < count; index++) {
      if (index === fetched) fetched = this.#fetch(index, count);
      const cell = this.#probe(this.keys[index] as number);
      if (this.words[cell + 2] === 0) absent += 1;
      else this.words[cell + 2] = (this.words[cell + 2] as number) | 3;
    }
    return absent;
  }

  move(from: number, count: number, old: number, next: number): number {
    const { words } = this;
    for (let index = from, fetched = from; index < count; index++) {
      if (index === fetched) fetched = this.#fetch(index, count);
      const key = this.keys[index] as number;
      const cell = this.#probe(key);
      const word = words[cell + 2] as number;
      if (word >>> 2 !== old || (word === 0 && next !== 0 && this.#size >= this.limit)) {
        this.values[0] = word >>> 2;
        return index;
      }
      if (next === 0) {
        if (word !== 0) this.#remove(cell);
        continue;
      }
      if (word === 0) {
        words[cell] = key | 0;
        words[cell + 1] = (key / 0x1_0000_0000) | 0;
        this.#size += 1;
      }
      words[cell + 2] = (next << 2) | (word & 3) | 1;
    }
    return Math.max(from, count);
  }

  evict(count: number): number {
    const { words } = this;
    let gone = 0;
    for (; gone < count && this.#size > 0; gone++) {
      for (let left = MAX_LOOKS; ; this.#turn()) {
        const word = words[this.#hand + 2] as number;
        if (word === 0) continue;
        left -= 1;
        if ((word & 3) !== 0 && left !== 0) {
          words[this.#hand + 2] = word - 1;
          continue;
        }
        this.gone[gone] = this.#keyAt(this.#hand);
        this.values[gone] = word >>> 2;
        this.#remove(this.#hand);
        break;
      }
    }
    return gone;
  }

  /** Reads the first cells of the next keys, so that memory fetches them at the same time instead of one after the other. */
  #fetch(from: number, count: number): number {
    const { keys, words } = this;
    const scale = this.#scale;
    const stop = Math.min(count, from + FETCHED_KEYS);
    let read = 0;
    for (let index = from; index < stop; index++) read ^= words[(((keys[index] as number) * scale) | 0) * CELL_WORDS + 2] as number;
    sink[0] = read;
    return stop;
  }

  /** The cell of a key, or the empty one where the search for it ends. */
  #probe(key: number): number {
    const { words } = this;
    const { length } = words;
    const low = key | 0;
    const high = (key / 0x1_0000_0000) | 0;
    for (let cell = this.#home(key); ; ) {
      if (words[cell + 2] === 0 || (words[cell] === low && words[cell + 1] === high)) return cell;
      cell += CELL_WORDS;
      if (cell === length) cell = 0;
    }
  }

  /** The hand goes on to the cell that is looked at next. */
  #turn(): void {
    this.#hand += CELL_WORDS;
    if (this.#hand !== this.#groupEnd) return;
    this.#hand += this.#stride - GROUP_WORDS;
    if (this.#hand >= this.words.length) this.#hand -= this.words.length;
    this.#groupEnd = this.#hand + GROUP_WORDS;
  }

  /** Empties a cell and closes the hole, so that no search ends too early. */
  #remove(emptied: number): void {
    const { words } = this;
    let hole = emptied;
    for (let cell = this.#after(hole); words[cell + 2] !== 0; cell = this.#after(cell)) {
      const home = this.#home(this.#keyAt(cell));
      if (this.#way(home, cell) < this.#way(hole, cell)) continue;
      words[hole] = words[cell] as number;
      words[hole + 1] = words[cell + 1] as number;
      words[hole + 2] = words[cell + 2] as number;
      hole = cell;
    }
    words[hole] = 0;
    words[hole + 1] = 0;
    words[hole + 2] = 0;
    this.#size -= 1;
  }

  /** Where the search for a key starts. */
  #home(key: number): number {
    return ((key * this.#scale) | 0) * CELL_WORDS;
  }

  #after(cell: number): number {
    const next = cell + CELL_WORDS;
    return next === this.words.length ? 0 : next;
  }

  #way(from: number, to: number): number {
    return to >= from ? to - from : to - from + this.words.length;
  }

  #keyAt(cell: number): number {
    return (this.words[cell + 1] as number) * 0x1_0000_0000 + ((this.words[cell] as number) >>> 0);
  }
}
