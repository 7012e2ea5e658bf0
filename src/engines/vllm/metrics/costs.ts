/**
 * What work costs on a vLLM, learnt from two readings of its metrics. Pure but for what it remembers.
 *
 * vLLM says sums over requests, not what happened to one. So an interval teaches only what it says without doubt:
 * - **prefill**, when prompts were computed one at a time. While they share the engine with others their time holds the others' work
 *   too, so it can only show that a prompt is cheaper than thought.
 * - Tokens that were pulled count as computed on vLLM's page (seen in 0.32.0). So nothing is learnt of prefill from the first pull on until
 *   the engine was idle once.
 * - **a decode step**, when nothing was prefilled meanwhile; else, again, only that it is cheaper than thought.
 * - **a pull**, always: it is measured by itself. How long a request waits for it besides is not on the page.
 */
import type { EngineCosts } from '../../port.ts';
import { RelativeFit } from './fit.ts';
import type { Scrape, Total } from './scrape.ts';

/** Fewer computed tokens than this say more about the fixed costs around them. */
const MIN_PREFILL_TOKENS = 32;
/** Terms that a short warm-up can not see start with this share of the term beside them, so that they can be learnt. */
const UNSEEN = { perTokenContext: 1e-5, perContextToken: 1e-6, fixedMs: 0.01 };
const MIB = 2 ** 20;

export interface Interval {
  readonly before: Scrape;
  readonly after: Scrape;
  /** Milliseconds between the two. */
  readonly ms: number;
}

export class CostLearner {
  readonly #prefill: RelativeFit;
  readonly #step: RelativeFit;
  readonly #pull: RelativeFit;
  /** Requests of the last or a coming interval may have pulled KV. */
  #hasPulled = false;

  /** @param start measured or guessed costs, with which it starts and to which it returns slowly */
  constructor(start: EngineCosts) {
    const { prefillFixed, prefillPerToken, prefillPerTokenContext, stepFixed, stepPerSequence, stepPerContextToken } = start;
    const step = stepFixed + stepPerSequence;
    this.#prefill = new RelativeFit([
      Math.max(prefillFixed, UNSEEN.fixedMs),
      prefillPerToken,
      Math.max(prefillPerTokenContext, prefillPerToken * UNSEEN.perTokenContext),
    ]);
    this.#step = new RelativeFit([stepFixed, stepPerSequence, Math.max(stepPerContextToken, step * UNSEEN.perContextToken)]);
    this.#pull = new RelativeFit([Math.max(start.pullFixed, UNSEEN.fixedMs), start.pullPerMiB]);
  }

  costs(): EngineCosts {
    const [prefillFixed = 0, prefillPerToken = 0, prefillPerTokenContext = 0] = this.#prefill.coefficients;
    const [stepFixed = 0, stepPerSequence = 0, stepPerContextToken = 0] = this.#step.coefficients;
    const [pullFixed = 0, pullPerMiB = 0] = this.#pull.coefficients;
    return {
      prefillFixed,
      prefillPerToken,
      prefillPerTokenContext,
      stepFixed,
      stepPerSequence,
      stepPerContextToken,
      pullFixed,
      pullPerMiB,
    };
  }

  /** @param contextTokens of running decodes, about, during the interval */
  learn(interval: Interval, contextTokens: number): void {
    const { before, after, ms } = interval;
    if (!(ms > 0) || after.counters.promptTokens < before.counters.promptTokens) return; // another life of the engine
    this.#learnPull(interval);
    if (before.running + before.waiting === 0) this.#hasPulled = false;
    if (after.counters.externalHitTokens > before.counters.externalHitTokens) this.#hasPulled = true;
    const prefill = growth(before.prefillSeconds, after.prefillSeconds);
    if (prefill.count > 0 && !this.#hasPulled) this.#learnPrefill(interval, prefill);
    this.#learnStep(interval, contextTokens);
  }

  #learnPrefill({ before, after, ms }: Interval, { sum: seconds, count }: Total): void {
    const uncached = (after.uncachedTokens.sum - before.uncachedTokens.sum) / count;
    const context = Math.max(0, (after.promptTokens.sum - before.promptTokens.sum) / count - uncached);
    if (!(uncached >= MIN_PREFILL_TOKENS)) return;
    const x = [1, uncached, uncached * (context + uncached / 2)];
    const each = (seconds * 1000) / count;
    const wasAlone = Math.max(before.running, after.running) <= 1 && after.waiting === 0 && (count === 1 || seconds * 1000 <= ms);
    if (wasAlone || each < this.#prefill.predict(x)) this.#prefill.observe(x, each);
  }

  #learnStep({ before, after }: Interval, contextTokens: number): void {
    const gaps = growth(before.tokenGapSeconds, after.tokenGapSeconds);
    const sequences = (before.running + after.running) / 2;
    // With none running at either end nobody knows how many there were between.
    if (gaps.count === 0 || sequences < 1) return;
    const x = [1, sequences, contextTokens];
    const each = (gaps.sum * 1000) / gaps.count;
    const wasPure = after.counters.promptTokens === before.counters.promptTokens && before.running === after.running;
    if (wasPure || each < this.#step.predict(x)) this.#step.observe(x, each);
  }

  #learnPull({ before, after }: Interval): void {
    const { sum: seconds, count } = growth(before.pullSeconds, after.pullSeconds);
    const bytes = after.pulledBytes.sum - before.pulledBytes.sum;
    if (count > 0 && bytes > 0) this.#pull.observe([1, bytes / count / MIB], (seconds * 1000) / count);
  }
}

function growth(before: Total, after: Total): Total {
  return { sum: after.sum - before.sum, count: Math.max(0, after.count - before.count) };
}
