import { describe, expect, it } from 'vitest';
import { median, percentile, quantiles } from './quantiles.ts';
import { compare, rotate, type Sample } from './ratio.ts';

function samples(metric: string, contender: string, values: number[]): Sample[] {
  return values.map((value, repeat) => ({ repeat, contender, metric, value }));
}

describe('compare', () => {
  it('divides within a repeat, never across', () => {
    // The machine is ten times slower in the second repeat: every ratio is still one half.
    const { ratio } = compare([...samples('cpu', 'ours', [1, 10, 2]), ...samples('cpu', 'nginx', [2, 20, 4])], 'ours');
    expect(ratio).toEqual({ 'cpu.nginx': { median: 0.5, min: 0.5, max: 0.5 } });
  });

  it('gives median and extremes, and the absolute figures of all', () => {
    const { ratio, absolute } = compare([...samples('cpu', 'ours', [3, 1, 8]), ...samples('cpu', 'smg', [1, 1, 2])], 'ours');
    expect(ratio['cpu.smg']).toEqual({ median: 3, min: 1, max: 4 });
    expect(absolute).toEqual({ cpu: { ours: { median: 3, min: 1, max: 8 }, smg: { median: 1, min: 1, max: 2 } } });
  });

  it('leaves out repeats without a pair or with a baseline near nothing, and says so', () => {
    const found = compare([...samples('added', 'ours', [1, 1]), ...samples('added', 'nginx', [0.001, 0.5, 0.5])], 'ours', () => 0.01);
    expect(found.ratio['added.nginx']).toEqual({ median: 2, min: 2, max: 2 });
    expect(found.omitted).toEqual([expect.stringContaining('added.nginx: 2 of 3 repeats')]);
  });

  it('gives no ratio when nothing is left, nor for figures that are no numbers', () => {
    expect(compare(samples('cpu', 'nginx', [1]), 'ours').ratio).toEqual({});
    expect(compare([...samples('cpu', 'ours', [Number.NaN]), ...samples('cpu', 'nginx', [1])], 'ours').ratio).toEqual({});
  });
});

describe('rotate', () => {
  it('puts everyone first in turn and keeps all', () => {
    const firsts = [0, 1, 2, 3, 4, 5].map((repeat) => rotate(['a', 'b', 'c'], repeat)[0]);
    expect(new Set(firsts)).toEqual(new Set(['a', 'b', 'c']));
    for (let repeat = 0; repeat < 6; repeat += 1) expect(rotate(['a', 'b', 'c'], repeat).sort()).toEqual(['a', 'b', 'c']);
    expect(rotate([], 3)).toEqual([]);
  });
});

describe('quantiles', () => {
  it('uses the nearest rank', () => {
    const hundred = Array.from({ length: 100 }, (_, index) => 100 - index);
    expect(quantiles(hundred)).toEqual({ count: 100, p50: 50, p99: 99, mean: 50.5, max: 100 });
    expect(percentile([1, 2, 3], 0.5)).toBe(2);
    expect(percentile([7], 0.01)).toBe(7);
  });

  it('has an answer for nothing', () => {
    expect(quantiles([])).toEqual({ count: 0, p50: 0, p99: 0, mean: 0, max: 0 });
    expect(percentile([], 0.5)).toBeNaN();
    expect(median([])).toBeNaN();
  });

  it('takes the mean of the middle two', () => {
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(median([5, 1, 3])).toBe(3);
  });
});
