import { expect, it } from 'vitest';
import { Slabs } from './slabs.ts';

const MIB = 1 << 20;

it('gives the same memory again, and the smallest that is large enough', () => {
  const slabs = new Slabs(64 * MIB);
  const small = slabs.take(MIB);
  const large = slabs.take(3 * MIB);
  expect([small.length, large.length]).toEqual([MIB, 4 * MIB]);
  slabs.release(large);
  slabs.release(small);
  expect(slabs.take(100)).toBe(small);
  expect(slabs.take(2 * MIB)).toBe(large);
});

it('has what was reserved, and reserves nothing that it would not keep', () => {
  const slabs = new Slabs(8 * MIB);
  const bytes = () => process.memoryUsage().arrayBuffers;
  /** Growth while `run` runs; a collection meanwhile can only make it smaller. */
  const growth = (run: () => void) => {
    const before = bytes();
    run();
    return bytes() - before;
  };
  slabs.reserve(3 * MIB);
  slabs.reserve(9 * MIB);
  slabs.reserve(2 ** 50);
  expect(growth(() => slabs.take(3 * MIB))).toBeLessThan(MIB);
  expect(growth(() => slabs.take(9 * MIB))).toBeGreaterThan(MIB);
});

it('lends memory and takes it back, also when its use fails', () => {
  const slabs = new Slabs(64 * MIB);
  const lent = slabs.lend(MIB, (memory) => memory);
  const fault = new Error('no');
  expect(() =>
    slabs.lend(MIB, (memory) => {
      expect(memory).toBe(lent);
      throw fault;
    }),
  ).toThrow(fault);
  expect(slabs.take(MIB)).toBe(lent);
});
