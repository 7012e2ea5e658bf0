/**
 * Sampling that can be resumed at any token: the choice at a position depends on the logits there, the settings, and
 * (seed, position), never on what was drawn before.
 */
import type { Sampling, TokenLogprobs } from '../port.ts';

/** A number in [0, 1) that depends on (seed, position) alone: 53 bits from two rounds of a 32-bit finaliser. */
export function uniformAt(seed: number, position: number): number {
  const high = mix(Math.imul(seed, 0x9e3779b1) ^ mix(position + 0x7f4a7c15));
  const low = mix(high ^ Math.imul(position, 0x85ebca6b) ^ seed);
  return ((high >>> 5) * 67_108_864 + (low >>> 6)) / 9_007_199_254_740_992;
}

function mix(value: number): number {
  let x = value | 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

/** Token of the highest logit, the lowest id among equals. NaN logits never win. */
export function greedy(logits: Float32Array): number {
  let best = 0;
  let value = -Infinity;
  for (let i = 0; i < logits.length; i++) {
    const logit = logits[i] as number;
    if (logit > value) {
      value = logit;
      best = i;
    }
  }
  return best;
}

/** The token at absolute `position` of the sequence (prompt included). Temperature first, then top-p, as vLLM does. */
export function sample(logits: Float32Array, sampling: Pick<Sampling, 'temperature' | 'topP' | 'seed'>, position: number): number {
  const { temperature, topP, seed } = sampling;
  if (temperature === 0) return greedy(logits);
  const weights = new Float64Array(logits.length);
  const top = logits[greedy(logits)] as number;
  let total = 0;
  for (let i = 0; i < logits.length; i++) {
    const weight = Math.exp(((logits[i] as number) - top) / temperature);
    weights[i] = weight;
    total += weight;
  }
  const draw = uniformAt(seed, position);
  return topP >= 1 ? pick(weights, null, draw * total) : pickNucleus(weights, topP * total, draw);
}

/** Smallest set of most likely tokens whose weight reaches `enough`, then a draw inside it. */
function pickNucleus(weights: Float64Array, enough: number, draw: number): number {
  const order = Uint32Array.from(weights.keys()).sort((a, b) => (weights[b] as number) - (weights[a] as number) || a - b);
  let kept = 0;
  let weight = 0;
  while (kept < order.length && weight < enough) weight += weights[order[kept++] as number] as number;
  return pick(weights, order.subarray(0, Math.max(1, kept)), draw * weight);
}

function pick(weights: Float64Array, order: Uint32Array | null, target: number): number {
  const count = order ? order.length : weights.length;
  let last = 0;
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const token = order ? (order[i] as number) : i;
    const weight = weights[token] as number;
    if (weight <= 0) continue;
    last = token;
    sum += weight;
    if (sum > target) return token;
  }
  return last; // rounding left the target a hair above the sum
}

/** Natural log-probabilities of the chosen token and of the `count` most likely ones, before temperature. */
export function logprobs(logits: Float32Array, chosen: number, count: number): TokenLogprobs {
  const max = logits[greedy(logits)] as number;
  let total = 0;
  for (const logit of logits) total += Math.exp(logit - max);
  const base = max + Math.log(total);
  const order = Uint32Array.from(logits.keys()).sort((a, b) => (logits[b] as number) - (logits[a] as number) || a - b);
  const entry = (token: number) => ({ token, logprob: (logits[token] as number) - base });
  return { logprob: entry(chosen).logprob, top: Array.from(order.subarray(0, count), entry) };
}
