import fc from 'fast-check';
import { expect, it } from 'vitest';
import { PeerBudgets, TokenBucket } from './budget.ts';

it('holds the mean rate over any sequence of sizes, once the burst is spent', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1 }), (sizes) => {
      const bucket = new TokenBucket(1000, 0, 100);
      let now = 0;
      let moved = 0;
      for (const bytes of sizes) {
        now += bucket.take(bytes, now);
        moved += bytes;
        expect(moved).toBeLessThanOrEqual(100 + now + 1e-6);
      }
    }),
  );
});

it('earns no more than one burst while nothing moves, and nothing when time stands still or runs back', () => {
  const bucket = new TokenBucket(1000, 0, 100);
  expect(bucket.take(100, 1_000_000)).toBe(0);
  expect(bucket.take(50, 1_000_000)).toBe(50);
  expect(bucket.take(0, 0)).toBe(50);
});

it('keeps peers apart and remembers a bounded number of them', () => {
  const budgets = new PeerBudgets(1000);
  const first = budgets.of('a', 0);
  expect(budgets.of('b', 0)).not.toBe(first);
  expect(budgets.of('a', 0)).toBe(first);
  for (let peer = 0; peer < 1024; peer++) budgets.of(`peer ${peer}`, 0);
  expect(budgets.of('a', 0)).not.toBe(first);
});

it('names a wrong rate', () => {
  for (const rate of [0, -1, Number.NaN]) {
    expect(() => new TokenBucket(rate, 0)).toThrow('bytesPerSecond: expected a number above 0');
    expect(() => new PeerBudgets(rate)).toThrow('bytesPerSecond: expected a number above 0');
  }
});
