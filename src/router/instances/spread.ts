/** How an instance's measured times compare with what was predicted: the worst ratio of late. */

/** Costs that nobody has measured yet are off by so much. */
const UNKNOWN = 4;
const LEAST = 2;
const MOST = 32;
/** What is left of a bad ratio one measurement later: a half after 14. */
const FADING = 0.95;
/** Ratios to less than this say nothing: it is mostly the network and the scheduler. */
const SHORT_MS = 50;

export class Spread {
  #worst = UNKNOWN;

  /** 2 to 32. */
  get ratio(): number {
    return Math.min(MOST, Math.max(LEAST, this.#worst));
  }

  add(predictedMs: number, measuredMs: number): void {
    this.#worst = Math.min(MOST, Math.max(measuredMs / Math.max(SHORT_MS, predictedMs), this.#worst * FADING));
  }
}
