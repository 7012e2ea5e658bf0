import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { copiesBetween, GroupAllocator } from './chat-groups.ts';

describe('groups of blocks', () => {
  it('are contiguous, and grow where they are', () => {
    const memory = new GroupAllocator<string>({ blocks: 100, preferred: 10 });
    memory.take('a', 3);
    memory.take('b', 3);
    for (let more = 0; more < 7; more++) memory.take('a', 1);
    expect(memory.extents('a')).toEqual([{ start: 0, length: 10 }]);
    memory.take('a', 1);
    expect(memory.extents('a')).toEqual([
      { start: 0, length: 10 },
      { start: 20, length: 1 },
    ]);
    memory.release('b');
    expect(memory.extents('b')).toEqual([]);
    expect(memory.used).toBe(11);
  });

  it('waste nothing that somebody wants: idle ends are split off', () => {
    const memory = new GroupAllocator<string>({ blocks: 30, preferred: 10 });
    for (const owner of ['a', 'b', 'c']) memory.take(owner, 1);
    expect(memory.take('d', 27)).toBe(true);
    expect(memory.used).toBe(30);
    expect(memory.take('a', 1)).toBe(false);
    expect(memory.count('d')).toBe(27);
  });

  it('merge when they are freed', () => {
    const memory = new GroupAllocator<number>({ blocks: 40, preferred: 10 });
    for (let owner = 0; owner < 4; owner++) memory.take(owner, 10);
    for (const owner of [1, 3, 0, 2]) memory.release(owner);
    memory.take(9, 40);
    expect(memory.extents(9)).toEqual([{ start: 0, length: 40 }]);
  });

  it('say which option is wrong', () => {
    expect(() => new GroupAllocator({ blocks: 0 })).toThrow('blocks: expected a whole number of 1 or more, got 0');
    expect(() => new GroupAllocator({ blocks: 5, preferred: 1.5 })).toThrow('preferred: expected a whole number of 1 or more, got 1.5');
  });

  it('never overlap, leak, or refuse what there is room for', () => {
    const act = fc.oneof(
      fc.record({ type: fc.constant('take' as const), owner: fc.nat(7), count: fc.integer({ min: 1, max: 30 }) }),
      fc.record({ type: fc.constant('truncate' as const), owner: fc.nat(7), count: fc.nat(40) }),
      fc.record({ type: fc.constant('release' as const), owner: fc.nat(7), count: fc.constant(0) }),
    );
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 120 }),
        fc.integer({ min: 1, max: 20 }),
        fc.array(act, { maxLength: 60 }),
        (blocks, preferred, acts) => {
          const memory = new GroupAllocator<number>({ blocks, preferred });
          const expected = new Map<number, number>();
          const sum = () => [...expected.values()].reduce((total, count) => total + count, 0);
          for (const { type, owner, count } of acts) {
            const has = expected.get(owner) ?? 0;
            if (type === 'take') {
              const fits = sum() + count <= blocks;
              expect(memory.take(owner, count)).toBe(fits);
              if (fits) expected.set(owner, has + count);
            } else {
              memory.truncate(owner, count);
              expected.set(owner, Math.min(has, count));
            }
            const seen = new Set<number>();
            for (const [one, held] of expected) {
              expect(memory.count(one)).toBe(held);
              for (const { start, length } of memory.extents(one)) {
                for (let block = start; block < start + length; block++) {
                  expect(block).toBeLessThan(blocks);
                  expect(seen.has(block)).toBe(false);
                  seen.add(block);
                }
              }
            }
            expect(memory.used).toBe(sum());
          }
        },
      ),
    );
  });
});

describe('copies between two memories', () => {
  const whole = [{ start: 0, length: 10 }];
  const pieces = [
    { start: 5, length: 4 },
    { start: 20, length: 6 },
  ];

  it('are as many as there are runs that are contiguous in both', () => {
    expect(copiesBetween(whole, whole, { from: 0, to: 10 })).toBe(1);
    expect(copiesBetween(whole, pieces, { from: 0, to: 10 })).toBe(2);
    expect(copiesBetween(pieces, whole, { from: 4, to: 10 })).toBe(1);
    expect(
      copiesBetween(
        pieces,
        [
          { start: 0, length: 2 },
          { start: 9, length: 8 },
        ],
        { from: 0, to: 10 },
      ),
    ).toBe(3);
    expect(copiesBetween(whole, whole, { from: 3, to: 3 })).toBe(0);
  });
});
