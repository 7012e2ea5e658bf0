import { Deadlines } from '../deadlines.ts';

type Ends = Map<number, number>;

interface Expectation {
  readonly endsAt: number;
  readonly keys: Float64Array;
  readonly slot: number;
  readonly ends: Ends;
}

/**
 * Until when which block is expected at which slot. The bits themselves are in the index; this keeps their ends. A pair that is expected
 * again counts until the later end.
 *
 * Ends are whole milliseconds, small integers that a Map holds without an object for each.
 *
 * What is queued under a slot that was taken away, or of a block that arrived, finds no end any more when its time comes.
 */
export class Expectations {
  readonly #maxPairs: number;
  readonly #mark: (keys: Float64Array, slot: number, expected: boolean) => void;
  /** Slot → key → end. */
  readonly #atSlot = new Map<number, Ends>();
  readonly #queue = new Deadlines<Expectation>();
  #queuedPairs = 0;
  #size = 0;

  /** @param mark called with blocks that are expected at a slot from now on, and with those whose time is over or that make room. */
  constructor(maxPairs: number, mark: (keys: Float64Array, slot: number, expected: boolean) => void) {
    this.#maxPairs = maxPairs;
    this.#mark = mark;
  }

  get size(): number {
    return this.#size;
  }

  /** How many pairs can be added at once. */
  get maxPairs(): number {
    return this.#maxPairs;
  }

  /** `keys` are expected at `slot` until `endsAt`. */
  add(keys: Float64Array, slot: number, endsAt: number): void {
    while (this.#queuedPairs + keys.length > this.#maxPairs) {
      const soonest = this.#queue.takeNext();
      if (!soonest) break;
      this.#end(soonest, soonest.endsAt);
    }
    // Not before: what made room may be the same blocks, expected until earlier.
    this.#mark(keys, slot, true);
    let ends = this.#atSlot.get(slot);
    if (!ends) {
      ends = new Map();
      this.#atSlot.set(slot, ends);
    }
    const whole = Math.ceil(endsAt);
    this.#size -= ends.size;
    for (const key of keys) ends.set(key, Math.max(whole, ends.get(key) ?? whole));
    this.#size += ends.size;
    this.#queue.add(whole, { endsAt: whole, keys, slot, ends });
    this.#queuedPairs += keys.length;
  }

  /** The block arrived, or was forgotten: nothing is expected any more. The caller clears the bit. */
  forget(key: number, slot: number): void {
    if (this.#atSlot.get(slot)?.delete(key)) this.#size -= 1;
  }

  /** The slot is taken away, and with it all that was expected there. */
  forgetSlot(slot: number): void {
    const ends = this.#atSlot.get(slot);
    if (!ends) return;
    this.#atSlot.delete(slot);
    this.#size -= ends.size;
  }

  expire(now: number): void {
    for (;;) {
      const due = this.#queue.takeDue(now);
      if (!due) return;
      this.#end(due, now);
    }
  }

  #end({ keys, slot, ends }: Expectation, until: number): void {
    this.#queuedPairs -= keys.length;
    if (this.#atSlot.get(slot) !== ends) return;
    const over = keys.filter((key) => {
      const endsAt = ends.get(key);
      return endsAt !== undefined && endsAt <= until && ends.delete(key);
    });
    this.#size -= over.length;
    if (over.length > 0) this.#mark(over, slot, false);
  }
}
