/**
 * Merges the tokens of one word: again and again the pair of the lowest rank, of equal ones the leftmost, until none is left (R. Sennrich
 * et al., "Neural Machine Translation of Rare Words with Subword Units", 2016, section 3.2). Short words by looking through them; long
 * ones with a heap, so that a word of n bytes takes n·log(n) and not n².
 */
import { type MergeTable, NO_MERGE } from './mergetable.ts';

const SHORT = 40;
const NEVER = 0x7fffffff;
const NONE = -1;
/** Ranks and places of a heap's keys: both fit the 53 bits of a double. */
const PLACES = 2 ** 30;
/** Memory for longer words is given back. */
const KEPT_TOKENS = 2 ** 16;

export class Merger {
  /** The tokens to merge, and then those that remain. Room for as many as were asked for. */
  tokens = new Int32Array(KEPT_TOKENS);
  readonly #table: MergeTable;
  readonly #slots = new Int32Array(SHORT);
  readonly #ranks = new Int32Array(SHORT);
  #long = new LongWord(KEPT_TOKENS);

  constructor(table: MergeTable) {
    this.#table = table;
  }

  /** Makes room for a word of `length` tokens. */
  reserve(length: number): void {
    if (length > this.tokens.length) this.tokens = new Int32Array(length);
  }

  /** Call when a text is done. */
  release(): void {
    if (this.tokens.length > KEPT_TOKENS) this.tokens = new Int32Array(KEPT_TOKENS);
    if (this.#long.size > KEPT_TOKENS) this.#long = new LongWord(KEPT_TOKENS);
  }

  /** Merges the first `length` tokens in place. @returns how many remain */
  merge(length: number): number {
    if (length < 2) return length;
    return length <= SHORT ? this.#mergeShort(length) : this.#mergeLong(length);
  }

  #mergeShort(length: number): number {
    const { tokens } = this;
    const slots = this.#slots;
    const ranks = this.#ranks;
    let pairs = length - 1;
    for (let at = 0; at < pairs; at += 1) this.#look(at);
    while (pairs > 0) {
      let best = NEVER;
      let place = NONE;
      for (let at = 0; at < pairs; at += 1) {
        const rank = ranks[at] ?? NEVER;
        if (rank < best) {
          best = rank;
          place = at;
        }
      }
      if (place === NONE) break;
      tokens[place] = this.#table.mergedAt(slots[place] ?? 0);
      pairs -= 1;
      for (let at = place + 1; at <= pairs; at += 1) {
        tokens[at] = tokens[at + 1] ?? 0;
        slots[at - 1] = slots[at] ?? NO_MERGE;
        ranks[at - 1] = ranks[at] ?? NEVER;
      }
      if (place > 0) this.#look(place - 1);
      if (place < pairs) this.#look(place);
    }
    return pairs + 1;
  }

  /** Looks up the pair that begins at `at`. */
  #look(at: number): void {
    const slot = this.#table.slotOf(this.tokens[at] ?? 0, this.tokens[at + 1] ?? 0);
    this.#slots[at] = slot;
    this.#ranks[at] = slot === NO_MERGE ? NEVER : this.#table.rankAt(slot);
  }

  #mergeLong(length: number): number {
    if (length > this.#long.size) this.#long = new LongWord(length);
    return this.#long.merge(this.tokens, length, this.#table);
  }
}

/** Tokens in a linked list, and a heap of the pairs in it that merge. */
class LongWord {
  readonly size: number;
  /** Of each token that still stands: where the next and the one before it are. */
  readonly #next: Int32Array;
  readonly #before: Int32Array;
  /** Where the pair that a token begins stands in the table. */
  readonly #slots: Int32Array;
  /** rank · PLACES + place, the least first. Outdated entries stay until they come up: each merge adds two and takes one. */
  readonly #heap: Float64Array;
  #entries = 0;

  constructor(size: number) {
    this.size = size;
    this.#next = new Int32Array(size);
    this.#before = new Int32Array(size);
    this.#slots = new Int32Array(size);
    this.#heap = new Float64Array(size * 2 + 1);
  }

  merge(tokens: Int32Array, length: number, table: MergeTable): number {
    this.#fill(tokens, length, table);
    const next = this.#next;
    const before = this.#before;
    const slots = this.#slots;
    while (this.#entries > 0) {
      const key = this.#pop();
      const rank = Math.floor(key / PLACES);
      const at = key - rank * PLACES;
      const slot = slots[at] ?? NO_MERGE;
      if (slot === NO_MERGE || table.rankAt(slot) !== rank) continue;
      const right = next[at] ?? NONE;
      const after = next[right] ?? NONE;
      const left = before[at] ?? NONE;
      tokens[at] = table.mergedAt(slot);
      next[at] = after;
      slots[right] = NO_MERGE;
      slots[at] = NO_MERGE;
      if (after !== NONE) {
        before[after] = at;
        this.#offer(tokens, at, table);
      }
      if (left !== NONE) this.#offer(tokens, left, table);
    }
    let count = 0;
    for (let at = 0; at !== NONE; at = next[at] ?? NONE) {
      tokens[count] = tokens[at] ?? 0;
      count += 1;
    }
    return count;
  }

  #fill(tokens: Int32Array, length: number, table: MergeTable): void {
    const heap = this.#heap;
    this.#entries = 0;
    for (let at = 0; at < length; at += 1) {
      this.#next[at] = at + 1 < length ? at + 1 : NONE;
      this.#before[at] = at - 1;
      const slot = at + 1 < length ? table.slotOf(tokens[at] ?? 0, tokens[at + 1] ?? 0) : NO_MERGE;
      this.#slots[at] = slot;
      if (slot === NO_MERGE) continue;
      heap[this.#entries] = table.rankAt(slot) * PLACES + at;
      this.#entries += 1;
    }
    for (let at = (this.#entries >> 1) - 1; at >= 0; at -= 1) this.#sink(at, heap[at] ?? 0);
  }

  /** Puts the pair that the token at `at` begins now into the heap, if it merges. */
  #offer(tokens: Int32Array, at: number, table: MergeTable): void {
    const slot = table.slotOf(tokens[at] ?? 0, tokens[this.#next[at] ?? 0] ?? 0);
    this.#slots[at] = slot;
    if (slot === NO_MERGE) return;
    const heap = this.#heap;
    const key = table.rankAt(slot) * PLACES + at;
    let place = this.#entries;
    this.#entries += 1;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      const above = heap[parent] ?? 0;
      if (above <= key) break;
      heap[place] = above;
      place = parent;
    }
    heap[place] = key;
  }

  #pop(): number {
    const heap = this.#heap;
    const least = heap[0] ?? 0;
    this.#entries -= 1;
    if (this.#entries > 0) this.#sink(0, heap[this.#entries] ?? 0);
    return least;
  }

  #sink(from: number, key: number): void {
    const heap = this.#heap;
    const entries = this.#entries;
    let place = from;
    for (let child = place * 2 + 1; child < entries; child = place * 2 + 1) {
      if (child + 1 < entries && (heap[child + 1] ?? 0) < (heap[child] ?? 0)) child += 1;
      if ((heap[child] ?? 0) >= key) break;
      heap[place] = heap[child] ?? 0;
      place = child;
    }
    heap[place] = key;
  }
}
