import { expect, it } from 'vitest';
import { KnownKeys } from './known.ts';

const keysOf = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => `${from + index}`);

it('knows each key once, until it is removed', () => {
  const known = new KnownKeys(8);
  expect(keysOf(0, 6).map((key) => known.add(key))).toEqual(keysOf(0, 6).map(() => true));
  // Of either generation.
  expect([known.add('0'), known.add('5')]).toEqual([false, false]);
  expect([known.remove('0'), known.remove('5'), known.remove('5')]).toEqual([true, true, false]);
  expect(known.keys(100)).toEqual(keysOf(1, 5));
  expect(known.keys(2)).toEqual(['3', '4']);
  expect(known.add('0')).toBe(true);
});

it('never knows more than it may, and the youngest half for sure', () => {
  const known = new KnownKeys(8);
  for (const key of keysOf(0, 1_000)) {
    known.add(key);
    const all = known.keys(100);
    expect(all.length).toBeLessThanOrEqual(8);
    const young = keysOf(Math.max(0, Number(key) - 3), Number(key) + 1);
    expect(young.every((one) => known.has(one))).toBe(true);
  }
});
