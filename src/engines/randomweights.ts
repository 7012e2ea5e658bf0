/** What the built-in models of all engines are made of: a llama architecture's sizes, and numbers for its weights. Pure. */
export interface TinyModelOptions {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly feedForward: number;
  readonly contextTokens: number;
  readonly seed: number;
}

/** Near-normal deviates (sum of four uniforms, variance 1) from a 32-bit counter hash: exact arithmetic on every platform. */
export function normalDeviates(seed: number): () => number {
  let state = Math.imul(seed, 0x9e3779b1) >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
  const scale = Math.sqrt(3);
  return () => (uniform() + uniform() + uniform() + uniform() - 2) * scale;
}
