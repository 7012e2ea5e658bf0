/**
 * Sets of owners. A block's cell does not list who holds it but names a set; blocks of one conversation mostly have the same holders, so
 * sets are far fewer than blocks, a chain of blocks is walked by the few sets it passes, and an instance that is gone is cleared out of the
 * sets instead of out of the blocks.
 *
 * A set has one bit per kind and instance slot. It counts the blocks that name it and is given up with the last one. Equal sets have the
 * same name as long as no sweep made them equal afterwards.
 */

/** What a bit of a set says of an instance. */
export const KIND = { hbm: 0, host: 1, expected: 2 } as const;
export type Kind = (typeof KIND)[keyof typeof KIND];
const KINDS = 3;

/** What becomes of a set: at one slot a kind is added or taken away, and `expected` ends unless it is what is added. */
export interface Change {
  readonly slot: number;
  readonly kind: Kind;
  readonly holds: boolean;
}

/** The set without owners: of blocks that are not there. */
export const NOBODY = 0;
/** Sets at first, and at least allowed. */
const FIRST_SETS = 256;
/** Hash of sets in no chain: those without owners, and free ones. */
const UNLINKED = 0;
/** Blocks that name it, hash, next in chain, and two heads of chains. */
const BYTES_BESIDE_BITS = 20;

export class OwnerSets {
  readonly #words: number;
  readonly #stride: number;
  readonly #maxSets: number;
  #bits: Uint32Array;
  #blocks: Uint32Array;
  #hashes: Int32Array;
  /** Next set of the same hash, or next free one. */
  #next: Int32Array;
  #heads: Int32Array;
  #free = 0;
  /** Sets from here on were never used. Set 0 is nobody. */
  #unused = 1;
  #emptied = 0;
  readonly #scratch: Uint32Array;

  /** @param words of 32 slots each. @param maxBytes taken at most, but never less than 1024 sets need. */
  constructor(words: number, maxBytes: number) {
    this.#words = words;
    this.#stride = words * KINDS;
    this.#maxSets = Math.max(FIRST_SETS * 4, Math.floor(maxBytes / (this.#stride * 4 + BYTES_BESIDE_BITS)));
    this.#bits = new Uint32Array(FIRST_SETS * this.#stride);
    this.#blocks = new Uint32Array(FIRST_SETS);
    this.#hashes = new Int32Array(FIRST_SETS);
    this.#next = new Int32Array(FIRST_SETS);
    this.#heads = new Int32Array(FIRST_SETS * 2);
    this.#scratch = new Uint32Array(this.#stride);
  }

  /** Sets to walk over when every one must be seen, 0 included; some may be free. */
  get length(): number {
    return this.#unused;
  }

  /** Blocks whose last owner was swept away. */
  get emptied(): number {
    return this.#emptied;
  }

  get bytes(): number {
    const { buffer } = this.#bits;
    return buffer.byteLength + (this.#blocks.length + this.#hashes.length + this.#next.length + this.#heads.length) * 4;
  }

  /** Word `word` of the bits of a kind. */
  bits(set: number, kind: Kind, word: number): number {
    return this.#bits[set * this.#stride + kind * this.#words + word] as number;
  }

  has(set: number, kind: Kind, slot: number): boolean {
    return ((this.bits(set, kind, slot >>> 5) >>> (slot & 31)) & 1) === 1;
  }

  /** Its last owner was swept away, or it is nobody. */
  isEmptied(set: number): boolean {
    return this.#hashes[set] === UNLINKED;
  }

  /**
   * The set that `set` becomes with `change`, without what is not in `live`. -1 when there is no room for one more set. A new one must be
   * given blocks by `count` next, or it is never given up.
   */
  changed(set: number, { slot, kind, holds }: Change, live: Uint32Array): number {
    const scratch = this.#scratch;
    for (let of = 0, at = 0; of < KINDS; of++)
      for (let word = 0; word < this.#words; word++, at++)
        scratch[at] = (this.#bits[set * this.#stride + at] as number) & (live[word] as number);
    const bit = 1 << (slot & 31);
    const clear = (of: Kind) => {
      const at = of * this.#words + (slot >>> 5);
      scratch[at] = (scratch[at] as number) & ~bit;
    };
    clear(kind);
    clear(KIND.expected);
    const at = kind * this.#words + (slot >>> 5);
    if (holds) scratch[at] = (scratch[at] as number) | bit;
    return this.#named();
  }

  /** `blocks` more blocks name the set, or fewer when negative. One that none names any more is given up. */
  count(set: number, blocks: number): void {
    const emptied = this.isEmptied(set);
    if (set === NOBODY || (emptied && blocks === 0)) return;
    const after = (this.#blocks[set] as number) + blocks;
    this.#blocks[set] = after;
    if (emptied) this.#emptied += blocks;
    if (after > 0) return;
    if (!emptied) this.#unlink(set);
    this.#bits.fill(0, set * this.#stride, (set + 1) * this.#stride);
    this.#next[set] = this.#free;
    this.#free = set;
  }

  /** Clears the slots of `dead` out of a set. */
  scrub(set: number, dead: Uint32Array): void {
    if (this.isEmptied(set)) return;
    const from = set * this.#stride;
    let cleared = 0;
    let kept = 0;
    for (let of = 0, at = from; of < KINDS; of++) {
      for (let word = 0; word < this.#words; word++, at++) {
        const bits = this.#bits[at] as number;
        const gone = dead[word] as number;
        cleared |= bits & gone;
        kept |= bits & ~gone;
        this.#bits[at] = bits & ~gone;
      }
    }
    if (cleared === 0) return;
    this.#unlink(set);
    if (kept === 0) this.#emptied += this.#blocks[set] as number;
    else this.#link(set, hashOf(this.#bits.subarray(from, from + this.#stride)));
  }

  /** The name of the set in `scratch`. */
  #named(): number {
    const scratch = this.#scratch;
    let any = 0;
    for (let at = 0; at < scratch.length; at++) any |= scratch[at] as number;
    if (any === 0) return NOBODY;
    const hash = hashOf(scratch);
    for (let set = this.#heads[hash & (this.#heads.length - 1)] as number; set !== 0; set = this.#next[set] as number)
      if (this.#hashes[set] === hash && this.#isScratch(set)) return set;
    const set = this.#take();
    if (set < 0) return set;
    this.#bits.set(scratch, set * this.#stride);
    this.#link(set, hash);
    return set;
  }

  #isScratch(set: number): boolean {
    const from = set * this.#stride;
    for (let at = 0; at < this.#stride; at++) if (this.#bits[from + at] !== this.#scratch[at]) return false;
    return true;
  }

  #take(): number {
    const set = this.#free;
    if (set !== 0) {
      this.#free = this.#next[set] as number;
      return set;
    }
    if (this.#unused > this.#maxSets) return -1;
    if (this.#unused === this.#blocks.length) this.#grow();
    return this.#unused++;
  }

  #grow(): void {
    const sets = Math.min(this.#blocks.length * 2, this.#maxSets + 1);
    this.#bits = grown(this.#bits, new Uint32Array(sets * this.#stride));
    this.#blocks = grown(this.#blocks, new Uint32Array(sets));
    this.#hashes = grown(this.#hashes, new Int32Array(sets));
    this.#next = grown(this.#next, new Int32Array(sets));
    const heads = 2 ** Math.ceil(Math.log2(sets));
    if (heads <= this.#heads.length) return;
    this.#heads = new Int32Array(heads);
    for (let set = 1; set < this.#unused; set++) {
      const hash = this.#hashes[set] as number;
      if (hash !== UNLINKED) this.#link(set, hash);
    }
  }

  #link(set: number, hash: number): void {
    const head = hash & (this.#heads.length - 1);
    this.#hashes[set] = hash;
    this.#next[set] = this.#heads[head] as number;
    this.#heads[head] = set;
  }

  #unlink(set: number): void {
    const head = (this.#hashes[set] as number) & (this.#heads.length - 1);
    this.#hashes[set] = UNLINKED;
    const next = this.#next[set] as number;
    if (this.#heads[head] === set) {
      this.#heads[head] = next;
      return;
    }
    let before = this.#heads[head] as number;
    while (this.#next[before] !== set) before = this.#next[before] as number;
    this.#next[before] = next;
  }
}

/** FNV-1a by words, then mixed (MurmurHash3's fmix32). Never `UNLINKED`. */
function hashOf(words: Uint32Array): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < words.length; at++) hash = Math.imul(hash ^ (words[at] as number), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16) || 1;
}

function grown<T extends Int32Array | Uint32Array>(old: T, next: T): T {
  next.set(old);
  return next;
}
