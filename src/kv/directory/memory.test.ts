import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../shared/index.ts';
import { directoryContract, hexes, numbers } from './directory.contract.ts';
import { memoryDirectory } from './memory.ts';
import { BlockTable, KIND } from './table.ts';

directoryContract('memory', (clock, setup) => memoryDirectory({ clock, ...setup }));

it('drops the expectations that end soonest when there are too many', () => {
  const clock = new FakeClock();
  const directory = memoryDirectory({ clock, maxExpectations: 5 });
  directory.apply('a', { incarnation: '1', seq: 1, tiers: {} });
  directory.expect('a', numbers(1, 3), 50);
  directory.expect('a', numbers(2, 2), 90);
  directory.expect('a', numbers(3, 1), 70);
  expect([1, 2, 3].map((chain) => directory.lookup(numbers(chain, 3))[0]?.expected)).toEqual([undefined, 2, 1]);
  directory.expect('a', numbers(4, 9), 10);
  expect(directory.stats().expectations).toBe(5);
});

it('lets expectations go with blocks that are forgotten', () => {
  const clock = new FakeClock();
  const directory = memoryDirectory({ clock, maxBlocks: 4 });
  directory.apply('a', { incarnation: '1', seq: 1, tiers: {} });
  directory.expect('a', numbers(1, 4), 50);
  directory.apply('a', { incarnation: '1', seq: 2, event: { type: 'stored', tier: 'hbm', keys: hexes(2, 4) } });
  expect(directory.stats()).toEqual({ instances: 1, blocks: 4, expectations: 0, evicted: 4 });
  clock.advance(100);
  expect(directory.lookup(numbers(2, 4))[0]?.hbm).toBe(4);
});

it('names a wrong bound', () => {
  const clock = new FakeClock();
  expect(() => memoryDirectory({ clock, maxBlocks: 0 })).toThrow('maxBlocks: expected an integer from 1 to 268435456, got 0');
  expect(() => memoryDirectory({ clock, maxInstances: 1.5 })).toThrow('maxInstances');
});

it('fences at the same cost whatever is held, and gives rows back', () => {
  const clock = new FakeClock();
  const directory = memoryDirectory({ clock });
  directory.apply('a', { incarnation: '1', seq: 1, tiers: { hbm: hexes(1, 5000) } });
  expect(directory.stats().blocks).toBe(5000);
  directory.fence('a');
  for (let seq = 1; seq <= 100; seq++) directory.apply('b', { incarnation: '1', seq, event: { type: 'stored', tier: 'hbm', keys: [] } });
  expect(directory.stats().blocks).toBe(0);
});

it('gives no slot out again before its bits are cleared, also when it was fenced during a sweep', () => {
  const clock = new FakeClock();
  const directory = memoryDirectory({ clock });
  const chain = hexes(1, 1000);
  for (const name of ['a', 'b']) directory.apply(name, { incarnation: '1', seq: 1, tiers: { hbm: chain } });
  directory.apply('c', { incarnation: '1', seq: 1, tiers: { hbm: chain } });
  for (let fenced = 0; fenced < 60; fenced++) {
    if (fenced % 3 === 0) directory.fence(fenced % 2 === 0 ? 'a' : 'b');
    const newcomer = `n${fenced}`;
    directory.apply(newcomer, { incarnation: '1', seq: 1, tiers: { hbm: hexes(2, 1) } });
    expect(directory.lookup(numbers(1, 1000))).not.toContainEqual(expect.objectContaining({ instance: newcomer }));
    directory.fence(newcomer);
    if (fenced % 3 === 1) directory.apply(fenced % 2 === 0 ? 'b' : 'a', { incarnation: '1', seq: fenced + 1, tiers: { hbm: chain } });
  }
  expect(directory.lookup(numbers(1, 1000)).find((match) => match.instance === 'c')?.hbm).toBe(1000);
});

describe('BlockTable', () => {
  it('finds what was added and not removed, among keys that collide', () => {
    // Few distinct low bits make long runs in the index; removal must not cut them.
    const key = fc.tuple(fc.nat(3), fc.nat(5)).map(([low, high]) => high * 2 ** 32 + low);
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), key), { maxLength: 100 }), (acts) => {
        const table = new BlockTable(1000, () => {});
        const model = new Set<number>();
        for (const [adds, number] of acts) {
          if (adds) {
            table.set(table.add(number), KIND.hbm, 31);
            model.add(number);
          } else if (model.delete(number)) {
            const row = table.find(number);
            table.unset(row, KIND.hbm, 31);
            table.removeIfEmpty(row);
          }
          for (let low = 0; low < 4; low++) {
            for (let high = 0; high < 6; high++) expect(table.find(high * 2 ** 32 + low) >= 0).toBe(model.has(high * 2 ** 32 + low));
          }
        }
        expect(table.size).toBe(model.size);
      }),
      { numRuns: 100 },
    );
  });

  it('keeps bits when it grows and widens', () => {
    const table = new BlockTable(100_000, () => {});
    for (let key = 0; key < 5000; key++) table.set(table.add(key * 7919), KIND.host, key % 32);
    table.widen(2);
    for (let key = 0; key < 5000; key++) {
      const row = table.find(key * 7919);
      expect(table.has(row, KIND.host, key % 32)).toBe(true);
      expect(table.has(row, KIND.host, (key % 32) + 32)).toBe(false);
      table.set(row, KIND.expected, 63);
      expect(table.bits(row, KIND.hbm, 0) | table.bits(row, KIND.hbm, 1)).toBe(0);
    }
    expect([table.size, table.evicted]).toEqual([5000, 0]);
  });
});
