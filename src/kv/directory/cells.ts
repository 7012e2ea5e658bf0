/**
 * The cells of the block index: block key → value, open addressing in one flat table. `WasmCells` and `ScriptCells` are the same to the
 * last bit: the WebAssembly module (`kernels/blocks.wat`) is the quick one, the TypeScript one needs no module and can be stepped through.
 *
 * Invariants
 * - The table is made once, for as many keys as it may ever hold; nothing is moved to a larger one while requests wait.
 * - Removal closes its hole (backward shift), so there are no tombstones and a search ends at the first empty cell.
 * - A third of the cells at least is empty.
 *
 * Keys are numbers from 0 to 2^53 - 1 whose high bits are well mixed (`keyNumber`): a key's search starts at `key / 2^53` of the table. One
 * call asks about up to `MAX_KEYS` of them. Values are integers from 1 to 2^30 - 1; 0 says that a key is not there.
 */

/** Keys per call. */
export const MAX_KEYS = 1024;
/** Words of 32 bits per cell: low and high half of the key, then value * 4 + age. An empty cell is 0 throughout. */
export const CELL_WORDS = 3;
export const CELL_BYTES = CELL_WORDS * 4;

export interface Cells {
  /** Where the caller puts keys. */
  readonly keys: Float64Array;
  /** Keys that `evict` took out. */
  readonly gone: Float64Array;
  /** Values that a call found. */
  readonly values: Uint32Array;
  /** The table itself, to read. */
  readonly words: Int32Array;
  /** Keys at most. */
  readonly limit: number;
  /** Keys in the table. */
  readonly size: number;
  /** Looks up the first `count` of `keys`, marks what it finds as used, and returns how many it found before the first that is not there. */
  find(count: number): number;
  /** How many of `keys` from `from` to `count` are not there; marks the others as used. */
  absent(from: number, count: number): number;
  /**
   * Gives `keys` from `from` to `count` the value `next` for as long as their value is `old`; 0 as `old` is a key that is not there, 0 as
   * `next` takes it out. Returns where it stopped, and in `values[0]` the value it met there: `old` itself when the table is full.
   */
  move(from: number, count: number, old: number, next: number): number;
  /**
   * Takes out `count` keys, `MAX_KEYS` at most, those rather that were not used lately: a hand goes around the table, ages what it passes
   * and takes what is old ("clock"). It goes in leaps that reach every group of cells once a round, since a hand that went straight ahead
   * would leave a crowd before it. Returns how many there were, and in `gone` and `values` which.
   */
  evict(count: number): number;
}

/** Cells that the hand looks at before it leaps. */
export const GROUP_CELLS = 8;

/** Cells for `limit` keys: two thirds full, searches that fail look at 5 cells (Knuth, TAOCP 6.4, linear probing). Whole groups. */
export function capacityFor(limit: number): number {
  return Math.ceil((limit * 3) / 2 / GROUP_CELLS + 1) * GROUP_CELLS;
}

/** Groups per leap: the golden section of them all, so that any part of a round is spread evenly; without a common divisor. */
export function leapFor(capacity: number): number {
  const groups = capacity / GROUP_CELLS;
  let leap = Math.max(1, Math.round(groups * 0.618));
  while (divisor(leap, groups) > 1) leap -= 1;
  return leap;
}

function divisor(one: number, other: number): number {
  return other === 0 ? one : divisor(other, one % other);
}

/** Times a key gives its first cell; a shade less than exact, so that the largest key, rounded, still falls into the table. */
export function scaleFor(capacity: number): number {
  return (capacity / 2 ** 53) * (1 - 2 ** -40);
}
