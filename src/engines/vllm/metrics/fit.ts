/** Corrects start values of a cost formula y = Σ cᵢ·xᵢ by what is observed. Pure. */

/** Weight that an old observation keeps when a new one comes: about the last 20 count. */
const DECAY = 0.95;
/** How many observations the start values are worth. */
const START_WEIGHT = 0.03;
/** No coefficient leaves its start value by more than this factor, nor does an observation. */
const MOST = 16;
const ROUNDS = 60;

/**
 * Least squares over the relative error, so that short and long times count alike: with θᵢ = cᵢ / start value and sᵢ = the share of
 * term i in the time that the start values predict, observed / predicted ≈ Σ θᵢ·sᵢ. Old observations fade exponentially; θ is drawn
 * to 1 by `START_WEIGHT`. A coefficient that starts at 0 stays 0.
 */
export class RelativeFit {
  readonly #start: readonly number[];
  /** Sums of sᵢ·sⱼ and of sᵢ·ratio. */
  readonly #products: Float64Array;
  readonly #targets: Float64Array;
  #coefficients: readonly number[];

  /** @param start what the coefficients are before anything was observed; those that are no number of 0 or more count as 0. */
  constructor(start: readonly number[]) {
    this.#start = start.map((value) => (Number.isFinite(value) && value > 0 ? value : 0));
    this.#products = new Float64Array(start.length ** 2);
    this.#targets = new Float64Array(start.length);
    this.#coefficients = this.#start;
  }

  get coefficients(): readonly number[] {
    return this.#coefficients;
  }

  predict(x: readonly number[]): number {
    return dot(this.#coefficients, x);
  }

  /** An observation that is no positive number, or that the formula can not tell anything about, is ignored. */
  observe(x: readonly number[], y: number): void {
    const predicted = dot(this.#start, x);
    if (!Number.isFinite(predicted) || !Number.isFinite(y) || predicted <= 0 || y <= 0) return;
    const ratio = clamp(y / predicted);
    const shares = this.#start.map((value, index) => (value * at(x, index)) / predicted);
    for (const [row, share] of shares.entries()) {
      this.#targets[row] = at(this.#targets, row) * DECAY + share * ratio;
      for (const [column, other] of shares.entries()) {
        const cell = row * shares.length + column;
        this.#products[cell] = at(this.#products, cell) * DECAY + share * other;
      }
    }
    this.#coefficients = this.#solve();
  }

  /** Coordinate descent on the ridge problem: converges for a few unknowns and keeps every one within its bounds. */
  #solve(): number[] {
    const size = this.#start.length;
    const theta = this.#start.map(() => 1);
    for (let round = 0; round < ROUNDS; round++) {
      for (const row of theta.keys()) {
        const others = theta.reduce(
          (sum, value, column) => (column === row ? sum : sum + at(this.#products, row * size + column) * value),
          0,
        );
        theta[row] = clamp((at(this.#targets, row) + START_WEIGHT - others) / (at(this.#products, row * size + row) + START_WEIGHT));
      }
    }
    return this.#start.map((value, index) => value * at(theta, index));
  }
}

function clamp(factor: number): number {
  return Math.min(MOST, Math.max(1 / MOST, factor));
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, index) => sum + value * at(b, index), 0);
}

function at(values: ArrayLike<number>, index: number): number {
  return values[index] ?? 0;
}
