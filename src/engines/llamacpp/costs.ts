/** What this instance's work costs, learnt from what it did: a decayed least-squares fit of the formulas of `EngineCosts`. Pure. */
import type { EngineCosts } from '../port.ts';

type Triple = readonly [number, number, number];

/** Weight that an old observation keeps when a new one comes. 0.95: the last 20 count, so that a noisy start is soon forgotten. */
const DECAY = 0.95;
/**
 * How many observations the start value is worth. It keeps the fit sane while all observations look alike: readiness probes alone say
 * nothing of long prompts, and what the warm-up found must not be forgotten for them.
 */
const GUESS_WEIGHT = 0.05;
const CALIBRATED_WEIGHT = 0.5;

/** Fits y ≈ a·x₀ + b·x₁ + c·x₂ with coefficients that are not negative. `scale` gives each x its usual size. */
class Fit {
  readonly #scale: Triple;
  #prior: Triple;
  #priorWeight = GUESS_WEIGHT;
  readonly #products = new Float64Array(9);
  readonly #targets = new Float64Array(3);

  constructor(scale: Triple, prior: Triple) {
    this.#scale = scale;
    this.#prior = prior;
  }

  observe(x: Triple, y: number): void {
    const scaled = x.map((value, i) => value / (this.#scale[i] as number));
    for (let i = 0; i < 3; i++) {
      this.#targets[i] = (this.#targets[i] as number) * DECAY + (scaled[i] as number) * y;
      for (let j = 0; j < 3; j++)
        this.#products[3 * i + j] = (this.#products[3 * i + j] as number) * DECAY + (scaled[i] as number) * (scaled[j] as number);
    }
  }

  /** What is known so far becomes the start value. */
  calibrate(): void {
    this.#prior = this.coefficients();
    this.#priorWeight = CALIBRATED_WEIGHT;
    this.#products.fill(0);
    this.#targets.fill(0);
  }

  /** Coordinate descent on the ridge problem: converges for three unknowns and respects zero as the lower bound. */
  coefficients(): Triple {
    const theta = this.#prior.map((value, i) => value * (this.#scale[i] as number));
    const prior = [...theta];
    for (let round = 0; round < 60; round++) {
      for (let i = 0; i < 3; i++) {
        let rest = (this.#targets[i] as number) + this.#priorWeight * (prior[i] as number);
        for (let j = 0; j < 3; j++) if (j !== i) rest -= (this.#products[3 * i + j] as number) * (theta[j] as number);
        theta[i] = Math.max(0, rest / ((this.#products[3 * i + i] as number) + this.#priorWeight));
      }
    }
    return [(theta[0] as number) / this.#scale[0], (theta[1] as number) / this.#scale[1], (theta[2] as number) / this.#scale[2]];
  }
}

export class CostMeter {
  readonly #prefill = new Fit([1, 256, 256 * 2048], [0.5, 0.1, 1e-5]);
  readonly #step = new Fit([1, 4, 8192], [0.5, 0.3, 1e-4]);
  readonly #pull = new Fit([1, 4, 1], [1, 1, 0]);
  #current: EngineCosts | null = null;

  /** `uncached` tokens were prefilled after `context` cached ones. */
  prefilled(uncached: number, context: number, ms: number): void {
    this.#prefill.observe([1, uncached, uncached * (context + uncached / 2)], ms);
    this.#current = null;
  }

  stepped(sequences: number, contextTokens: number, ms: number): void {
    this.#step.observe([1, sequences, contextTokens], ms);
    this.#current = null;
  }

  pulled(bytes: number, ms: number): void {
    this.#pull.observe([1, bytes / 2 ** 20, 0], ms);
    this.#current = null;
  }

  /** The warm-up is over: what it found is what later observations correct. */
  calibrate(): void {
    for (const fit of [this.#prefill, this.#step, this.#pull]) fit.calibrate();
  }

  costs(): EngineCosts {
    this.#current ??= this.#solve();
    return this.#current;
  }

  #solve(): EngineCosts {
    const prefill = this.#prefill.coefficients();
    const step = this.#step.coefficients();
    const pull = this.#pull.coefficients();
    return {
      prefillFixed: prefill[0],
      prefillPerToken: prefill[1],
      prefillPerTokenContext: prefill[2],
      stepFixed: step[0],
      stepPerSequence: step[1],
      stepPerContextToken: step[2],
      pullFixed: pull[0],
      pullPerMiB: pull[1],
    };
  }
}
