import fc from 'fast-check';
import { expect, it } from 'vitest';
import { FakeClock } from '../../shared/index.ts';
import { act, directoryContract, enact, hexes, type MakeDirectory, Model, numbers } from './directory.contract.ts';
import { memoryDirectory } from './memory.ts';
import { storedContract } from './stored.contract.ts';

const ADAPTERS: Readonly<Record<string, MakeDirectory>> = {
  memory: (clock, setup) => memoryDirectory({ clock, maxBlocks: 10_000, ...setup }),
  'memory, in TypeScript': (clock, setup) => memoryDirectory({ clock, maxBlocks: 10_000, ...setup, kernel: 'typescript' }),
};
for (const [name, make] of Object.entries(ADAPTERS)) {
  directoryContract(name, make);
  storedContract(name, make);
}

it('is the same over WebAssembly and over TypeScript, also with too little room', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 12 }), fc.array(act, { maxLength: 80 }), (maxBlocks, acts) => {
      const clock = new FakeClock();
      const wasm = memoryDirectory({ clock, maxBlocks });
      const script = memoryDirectory({ clock, maxBlocks, kernel: 'typescript' });
      const model = new Model(clock);
      for (const next of acts) {
        enact(next, [wasm, script], model, clock);
        for (let chain = 0; chain < 3; chain++) expect(wasm.lookup(numbers(chain, 7))).toEqual(script.lookup(numbers(chain, 7)));
        expect(wasm.stats()).toEqual(script.stats());
      }
    }),
    { numRuns: 200 },
  );
});

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

it('expects a block until the latest of its ends', () => {
  const clock = new FakeClock();
  const directory = memoryDirectory({ clock });
  directory.apply('a', { incarnation: '1', seq: 1, tiers: {} });
  directory.expect('a', numbers(1, 2), 100);
  directory.expect('a', numbers(1, 2), 10);
  clock.advance(99);
  expect(directory.lookup(numbers(1, 2))[0]?.expected).toBe(2);
  clock.advance(1);
  expect(directory.lookup(numbers(1, 2))).toEqual([]);
});

it('goes on expecting what is expected again when that takes the room of the first time', () => {
  const clock = new FakeClock();
  const directory = memoryDirectory({ clock, maxExpectations: 5 });
  directory.apply('a', { incarnation: '1', seq: 1, tiers: {} });
  directory.expect('a', numbers(1, 3), 50);
  directory.expect('a', numbers(1, 3), 90);
  expect([directory.lookup(numbers(1, 3))[0]?.expected, directory.stats().expectations]).toEqual([3, 3]);
  clock.advance(90);
  expect([directory.lookup(numbers(1, 3)), directory.stats().expectations]).toEqual([[], 0]);
});

it('lets expectations go with blocks that are forgotten', () => {
  const clock = new FakeClock();
  const directory = memoryDirectory({ clock, maxBlocks: 4 });
  directory.apply('a', { incarnation: '1', seq: 1, tiers: {} });
  directory.expect('a', numbers(1, 4), 50);
  directory.apply('a', { incarnation: '1', seq: 2, event: { type: 'stored', tier: 'hbm', keys: hexes(2, 4) } });
  expect(directory.stats()).toEqual({ instances: 1, blocks: 4, stored: 0, expectations: 0, evicted: 4 });
  clock.advance(100);
  expect(directory.lookup(numbers(2, 4))[0]?.hbm).toBe(4);
});

it('names a wrong bound', () => {
  const clock = new FakeClock();
  expect(() => memoryDirectory({ clock, maxBlocks: 0 })).toThrow('maxBlocks: expected an integer from 1 to 67108864, got 0');
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
