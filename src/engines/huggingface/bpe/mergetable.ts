/** Which pairs of tokens merge, how early, and into what: a hash table in one array, as there may be half a million of them. */

/** left, right, rank, merged */
const FIELDS = 4;
const EMPTY = -1;
/** What `slotOf` gives for a pair that does not merge. */
export const NO_MERGE = -1;

export class MergeTable {
  readonly #slots: Int32Array;
  readonly #shift: number;

  /** @param merges how many pairs will be set at most */
  constructor(merges: number) {
    const bits = Math.max(4, Math.ceil(Math.log2((merges + 1) * 2)));
    this.#shift = 32 - bits;
    this.#slots = new Int32Array(2 ** bits * FIELDS).fill(EMPTY);
  }

  /** A pair that is set again forgets what it had. */
  set(left: number, right: number, { rank, merged }: { readonly rank: number; readonly merged: number }): void {
    const slots = this.#slots;
    let slot = this.#hash(left, right);
    while (slots[slot] !== EMPTY && !(slots[slot] === left && slots[slot + 1] === right)) slot = (slot + FIELDS) % slots.length;
    slots[slot] = left;
    slots[slot + 1] = right;
    slots[slot + 2] = rank;
    slots[slot + 3] = merged;
  }

  /** Where the pair stands, or NO_MERGE. */
  slotOf(left: number, right: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let slot = this.#hash(left, right); ; slot = (slot + FIELDS) & mask) {
      const known = slots[slot] ?? EMPTY;
      if (known === left && slots[slot + 1] === right) return slot;
      if (known === EMPTY) return NO_MERGE;
    }
  }

  rankAt(slot: number): number {
    return this.#slots[slot + 2] ?? 0;
  }

  mergedAt(slot: number): number {
    return this.#slots[slot + 3] ?? 0;
  }

  #hash(left: number, right: number): number {
    let mixed = Math.imul(left, 0x9e3779b1) + right;
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x85ebca6b);
    return ((mixed ^ (mixed >>> 13)) >>> this.#shift) * FIELDS;
  }
}
