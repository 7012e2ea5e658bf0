import { expect, it } from 'vitest';
import { Spread } from './spread.ts';

function ratioAfter(...legs: readonly (readonly [number, number])[]): number {
  const spread = new Spread();
  for (const [predicted, measured] of legs) spread.add(predicted, measured);
  return spread.ratio;
}

it('expects unknown costs to be off by four', () => {
  expect(ratioAfter()).toBe(4);
});

it('learns the worst of late, and forgets it slowly', () => {
  expect(ratioAfter([100, 900])).toBe(9);
  expect(ratioAfter([100, 900], [100, 100])).toBeCloseTo(8.55);
  const well: readonly (readonly [number, number])[] = Array.from({ length: 60 }, () => [100, 110] as const);
  expect(ratioAfter([100, 900], ...well)).toBe(2);
});

it('does not go beyond its bounds, and takes short times for what they are', () => {
  expect(ratioAfter([100, 1_000_000])).toBe(32);
  expect(ratioAfter([0, 50])).toBeCloseTo(3.8);
});
