/** When the requests of an open loop start: milliseconds from its begin, ascending. Pure; the same seed gives the same times. */

/** Evenly spaced. */
export function evenArrivals(ratePerSecond: number, seconds: number): number[] {
  const count = Math.floor(ratePerSecond * seconds);
  return Array.from({ length: count }, (_, index) => (index * 1000) / ratePerSecond);
}

/** A Poisson process: exponential gaps. */
export function poissonArrivals(ratePerSecond: number, seconds: number, random: () => number): number[] {
  const times: number[] = [];
  let at = 0;
  for (;;) {
    at += (-Math.log(1 - random()) * 1000) / ratePerSecond;
    if (at >= seconds * 1000) return times;
    times.push(at);
  }
}

/** Mulberry32: uniform numbers in [0, 1) from a 32-bit seed. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
