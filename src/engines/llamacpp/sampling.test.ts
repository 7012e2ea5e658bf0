import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { greedy, logprobs, sample, uniformAt } from './sampling.ts';

const logitsOf = (...values: number[]) => Float32Array.from(values);

describe('uniformAt', () => {
  it('depends on seed and position alone and stays in [0, 1)', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), fc.nat(1_000_000), (seed, position) => {
        const value = uniformAt(seed, position);
        expect(value).toBeGreaterThanOrEqual(0);
        expect(value).toBeLessThan(1);
        expect(uniformAt(seed, position)).toBe(value);
      }),
    );
  });

  it('is flat over positions and over seeds', () => {
    for (const draw of [(i: number) => uniformAt(7, i), (i: number) => uniformAt(i, 7)]) {
      const buckets = Array.from({ length: 16 }, () => 0);
      for (let i = 0; i < 64_000; i++) {
        const bucket = Math.floor(draw(i) * 16);
        buckets[bucket] = (buckets[bucket] as number) + 1;
      }
      for (const count of buckets) expect(Math.abs(count - 4000)).toBeLessThan(350);
    }
  });
});

describe('sample', () => {
  it('takes the highest logit at temperature 0, the lowest id among equals, and never NaN', () => {
    expect(greedy(logitsOf(1, 3, 3, 2))).toBe(1);
    expect(greedy(logitsOf(Number.NaN, -1, Number.NaN))).toBe(1);
    expect(sample(logitsOf(0, 5, 1), { temperature: 0, topP: 1, seed: 1 }, 10)).toBe(1);
  });

  it('follows the softmax of logits over temperature', () => {
    const logits = logitsOf(0, 1, 2);
    const counts = [0, 0, 0];
    const draws = 30_000;
    for (let position = 0; position < draws; position++) {
      const token = sample(logits, { temperature: 0.8, topP: 1, seed: 3 }, position);
      counts[token] = (counts[token] as number) + 1;
    }
    const weights = [0, 1, 2].map((logit) => Math.exp(logit / 0.8));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    for (const [i, weight] of weights.entries()) expect((counts[i] as number) / draws).toBeCloseTo(weight / total, 2);
  });

  it('keeps to the smallest set that reaches top_p', () => {
    const logits = logitsOf(3, 2.9, -5, -6);
    for (let position = 0; position < 500; position++)
      expect(sample(logits, { temperature: 1, topP: 0.9, seed: 9 }, position)).toBeLessThan(2);
    for (let position = 0; position < 100; position++) expect(sample(logits, { temperature: 1, topP: 0.01, seed: 9 }, position)).toBe(0);
  });

  it('gives the same token again at a position, whatever was drawn before', () => {
    const logits = logitsOf(...Array.from({ length: 50 }, (_, i) => Math.sin(i)));
    const settings = { temperature: 1, topP: 0.95, seed: 42 };
    const forwards = Array.from({ length: 40 }, (_, position) => sample(logits, settings, position));
    const alone = sample(logits, settings, 39);
    expect(alone).toBe(forwards[39]);
    expect(new Set(forwards).size).toBeGreaterThan(5);
  });
});

describe('logprobs', () => {
  it('are the log-softmax, most likely first', () => {
    const result = logprobs(logitsOf(1, 2, 3), 0, 2);
    const total = Math.log(Math.exp(1) + Math.exp(2) + Math.exp(3));
    expect(result.logprob).toBeCloseTo(1 - total, 5);
    expect(result.top.map((entry) => entry.token)).toEqual([2, 1]);
    expect(result.top[0]?.logprob).toBeCloseTo(3 - total, 5);
  });
});
