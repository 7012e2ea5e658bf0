/**
 * One kind of work on an instance (requests, prompt tokens, context): ours, which is known at once, and what others gave it, which is
 * known from its reports.
 *
 * A report is up to 200 ms old, so it may still count work of ours that is over. Hence only what a report says beyond the most that was
 * ours since the last but one counts as that of others: a prompt that has just been prefilled is no queue for the next one.
 */
export class Burden {
  #ours = 0;
  /** The most that was ours since the last report, and in the time between the two before. */
  #mostOurs = 0;
  #mostOursBefore = 0;
  #others = 0;

  get ours(): number {
    return this.#ours;
  }

  get all(): number {
    return this.#ours + this.#others;
  }

  /** @param amount negative when it is taken away */
  add(amount: number): void {
    this.#ours += amount;
    this.#mostOurs = Math.max(this.#mostOurs, this.#ours);
  }

  /** @param all what the instance says that is on it, whoever gave it */
  reported(all: number): void {
    this.#others = Math.max(0, all - Math.max(this.#mostOurs, this.#mostOursBefore));
    this.#mostOursBefore = this.#mostOurs;
    this.#mostOurs = this.#ours;
  }

  /** Nothing is known of others any more. */
  lost(): void {
    this.#others = 0;
  }
}
