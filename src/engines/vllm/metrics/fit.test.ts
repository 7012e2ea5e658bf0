import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RelativeFit } from './fit.ts';

describe('RelativeFit', () => {
  it('starts with what it is given', () => {
    const fit = new RelativeFit([2, 0.5]);
    expect([fit.coefficients, fit.predict([1, 10])]).toEqual([[2, 0.5], 7]);
  });

  it('finds the formula behind what it sees', () => {
    const fit = new RelativeFit([1, 1]);
    for (let round = 0; round < 300; round++) {
      const x = 1 + ((round * 37) % 20);
      fit.observe([1, x], 5 + 0.3 * x);
    }
    for (const x of [1, 5, 10, 20]) expect(Math.abs(fit.predict([1, x]) / (5 + 0.3 * x) - 1)).toBeLessThan(0.12);
  });

  it('moves part of the way at once and most of it after some observations', () => {
    const fit = new RelativeFit([10]);
    fit.observe([1], 20);
    expect(fit.coefficients[0]).toBeGreaterThan(15);
    for (let count = 0; count < 20; count++) fit.observe([1], 20);
    expect(fit.coefficients[0]).toBeGreaterThan(19);
    for (let count = 0; count < 60; count++) fit.observe([1], 10);
    expect(fit.coefficients[0]).toBeLessThan(11);
  });

  it('leaves the start values by no more than a factor of 16', () => {
    const fit = new RelativeFit([1, 1]);
    for (let count = 0; count < 100; count++) fit.observe([1, 1], 1e9);
    expect(Math.max(...fit.coefficients)).toBeLessThanOrEqual(16);
    for (let count = 0; count < 200; count++) fit.observe([1, 1], 1e-9);
    expect(Math.min(...fit.coefficients)).toBeGreaterThanOrEqual(1 / 16);
  });

  it('stays finite and within its bounds whatever it is told', () => {
    const any = fc.oneof(fc.double(), fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, 0, -1, 1e300, 1e-300));
    fc.assert(
      fc.property(
        fc.array(any, { minLength: 3, maxLength: 3 }),
        fc.array(fc.tuple(any, any, any, any), { maxLength: 30 }),
        (start, seen) => {
          const fit = new RelativeFit(start);
          const first = fit.coefficients;
          for (const [a, b, c, y] of seen) fit.observe([a, b, c], y);
          for (const [index, value] of fit.coefficients.entries()) {
            expect(value).toBeGreaterThanOrEqual((first[index] ?? 0) / 16.01);
            expect(value).toBeLessThanOrEqual((first[index] ?? 0) * 16.01);
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});
