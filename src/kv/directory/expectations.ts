import { Deadlines } from '../deadlines.ts';

/** (row, slot) pairs as one number. */
const SLOT_RANGE = 65_536;

interface Expectation {
  readonly endsAt: number;
  readonly pairs: Float64Array;
}

/**
 * Until when which row is expected at which slot. The bits themselves are in the table; this keeps their ends. A pair that is expected
 * again counts until the later end.
 *
 * A row or slot may have been given to another block or instance by the time a pair ends; the pair then either ends something that is
 * over as well, or finds a later end and leaves it.
 */
export class Expectations {
  readonly #maxPairs: number;
  readonly #clear: (row: number, slot: number) => void;
  readonly #ends = new Map<number, number>();
  readonly #queue = new Deadlines<Expectation>();
  #queuedPairs = 0;

  /** @param clear called when a pair ends by time or to make room. */
  constructor(maxPairs: number, clear: (row: number, slot: number) => void) {
    this.#maxPairs = maxPairs;
    this.#clear = clear;
  }

  get size(): number {
    return this.#ends.size;
  }

  /** How many pairs can be added at once. */
  get maxPairs(): number {
    return this.#maxPairs;
  }

  /** Notes that `rows` are expected at `slot` until `endsAt`. */
  add(rows: readonly number[], slot: number, endsAt: number): void {
    while (this.#queuedPairs + rows.length > this.#maxPairs) {
      const soonest = this.#queue.takeNext();
      if (!soonest) break;
      this.#end(soonest, soonest.endsAt);
    }
    const pairs = Float64Array.from(rows, (row) => row * SLOT_RANGE + slot);
    for (const pair of pairs) this.#ends.set(pair, Math.max(endsAt, this.#ends.get(pair) ?? endsAt));
    this.#queue.add(endsAt, { endsAt, pairs });
    this.#queuedPairs += pairs.length;
  }

  /** The block arrived, or went with its row: nothing is expected any more. The caller clears the bit. */
  forget(row: number, slot: number): void {
    this.#ends.delete(row * SLOT_RANGE + slot);
  }

  expire(now: number): void {
    for (;;) {
      const due = this.#queue.takeDue(now);
      if (!due) return;
      this.#end(due, now);
    }
  }

  #end(expectation: Expectation, until: number): void {
    this.#queuedPairs -= expectation.pairs.length;
    for (const pair of expectation.pairs) {
      const endsAt = this.#ends.get(pair);
      if (endsAt === undefined || endsAt > until) continue;
      this.#ends.delete(pair);
      this.#clear(Math.floor(pair / SLOT_RANGE), pair % SLOT_RANGE);
    }
  }
}
