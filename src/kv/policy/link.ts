/**
 * What moving bytes over a link costs, learnt from what was moved: ms = fixed + perMiB × MiB + perCopy × copies is declared at first and then
 * corrected. Pure but for its own memory: times come in.
 *
 * What was seen counts less the older it is, so that a link that was slow once is tried again: an estimate that kept everybody away from a
 * link could never be corrected.
 */
export interface LinkPrice {
  readonly fixedMs: number;
  readonly msPerMiB: number;
  /** Of each copy after the first: what a call, a file or a launch costs whatever its size. */
  readonly copyMs: number;
}

export interface Moved {
  readonly bytes: number;
  readonly copies: number;
  readonly ms: number;
  /** The clock's `now()`. */
  readonly at: number;
}

const MIB = 2 ** 20;
/** After so long an observation counts half. */
const HALF_LIFE_MS = 30_000;
/** How many observations the declared price is worth. */
const PRIOR_WEIGHT = 0.5;

export class LinkMeter {
  readonly #declared: LinkPrice;
  /** Sums of w, w·x, w·x², w·y, w·x·y over x in MiB. */
  #sums: readonly [number, number, number, number, number] = [0, 0, 0, 0, 0];
  #at = 0;

  constructor(declared: LinkPrice) {
    this.#declared = declared;
  }

  moved({ bytes, copies, ms, at }: Moved): void {
    if (!(bytes > 0 && ms >= 0)) return;
    const faded = this.#faded(at);
    const x = bytes / MIB;
    const y = Math.max(0, ms - Math.max(0, copies - 1) * this.#declared.copyMs);
    const seen = [1, x, x * x, y, x * y];
    this.#sums = faded.map((sum, index) => sum + (seen[index] as number)) as [number, number, number, number, number];
    this.#at = Math.max(at, this.#at);
  }

  /** Least squares of fixed and per MiB, drawn to what was declared by as much as nothing newer is known. Neither is negative. */
  price(now: number): LinkPrice {
    const [w, x, xx, y, xy] = this.#faded(now);
    const { fixedMs, msPerMiB, copyMs } = this.#declared;
    // Two made-up observations on the declared line, at 0 and at 4 MiB.
    const far = 4;
    const half = PRIOR_WEIGHT / 2;
    const sw = w + PRIOR_WEIGHT;
    const sx = x + half * far;
    const sxx = xx + half * far * far;
    const sy = y + half * (2 * fixedMs + msPerMiB * far);
    const sxy = xy + half * far * (fixedMs + msPerMiB * far);
    const slope = Math.max(0, (sw * sxy - sx * sy) / (sw * sxx - sx * sx));
    const start = (sy - slope * sx) / sw;
    if (start >= 0) return { fixedMs: start, msPerMiB: slope, copyMs };
    return { fixedMs: 0, msPerMiB: Math.max(0, sxy / sxx), copyMs };
  }

  #faded(now: number): readonly [number, number, number, number, number] {
    const factor = 0.5 ** (Math.max(0, now - this.#at) / HALF_LIFE_MS);
    return this.#sums.map((sum) => sum * factor) as [number, number, number, number, number];
  }
}

/** Expected milliseconds for `bytes` in `copies` pieces. */
export function moveMs({ fixedMs, msPerMiB, copyMs }: LinkPrice, bytes: number, copies: number): number {
  return bytes <= 0 ? 0 : fixedMs + (msPerMiB * bytes) / MIB + copyMs * Math.max(0, copies - 1);
}

/** The price of a link of `bytesPerSecond` without fixed costs. */
export function rateLink(bytesPerSecond: number, copyMs = 0): LinkPrice {
  return { fixedMs: 0, msPerMiB: (MIB / bytesPerSecond) * 1000, copyMs };
}
