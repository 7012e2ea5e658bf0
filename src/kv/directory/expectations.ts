import { Deadlines } from '../deadlines.ts';

interface Expectation {
  readonly endsAt: number;
  readonly rows: readonly number[];
  readonly slot: number;
}

/**
 * Until when which row is expected at which slot. The bits themselves are in the table; this keeps their ends. A pair that is expected
 * again counts until the later end.
 *
 * A row or slot may have been given to another block or instance by the time a pair ends; the pair then either ends something that is
 * over as well, or finds a later end and leaves it.
 *
 * A pair is one number, and ends are whole milliseconds: with a usual count of blocks both are small integers, which a Map holds
 * without an object for each.
 */
export class Expectations {
  readonly #maxPairs: number;
  readonly #clear: (row: number, slot: number) => void;
  /** More than any row number. */
  readonly #rowRange: number;
  readonly #ends = new Map<number, number>();
  readonly #queue = new Deadlines<Expectation>();
  #queuedPairs = 0;

  /** @param clear called when a pair ends by time or to make room. */
  constructor(options: { readonly maxPairs: number; readonly maxRows: number }, clear: (row: number, slot: number) => void) {
    this.#maxPairs = options.maxPairs;
    this.#rowRange = 2 ** Math.ceil(Math.log2(options.maxRows + 1));
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
    const whole = Math.ceil(endsAt);
    for (const row of rows) {
      const pair = slot * this.#rowRange + row;
      this.#ends.set(pair, Math.max(whole, this.#ends.get(pair) ?? whole));
    }
    this.#queue.add(whole, { endsAt: whole, rows, slot });
    this.#queuedPairs += rows.length;
  }

  /** The block arrived, or went with its row: nothing is expected any more. The caller clears the bit. */
  forget(row: number, slot: number): void {
    this.#ends.delete(slot * this.#rowRange + row);
  }

  expire(now: number): void {
    for (;;) {
      const due = this.#queue.takeDue(now);
      if (!due) return;
      this.#end(due, now);
    }
  }

  #end({ rows, slot }: Expectation, until: number): void {
    this.#queuedPairs -= rows.length;
    for (const row of rows) {
      const pair = slot * this.#rowRange + row;
      const endsAt = this.#ends.get(pair);
      if (endsAt === undefined || endsAt > until) continue;
      this.#ends.delete(pair);
      this.#clear(row, slot);
    }
  }
}
