import { expect, it } from 'vitest';
import { BlockIndex } from './blockindex.ts';
import type { Cells } from './cells.ts';
import { ChainWalk } from './match.ts';
import { KIND } from './owners.ts';
import { ScriptCells } from './scriptcells.ts';
import { Slots } from './slots.ts';
import { WasmCells } from './wasmcells.ts';

const MADE: readonly [string, (limit: number) => Cells][] = [
  ['WebAssembly', (limit) => new WasmCells(limit)],
  ['TypeScript', (limit) => new ScriptCells(limit)],
];

function indexOf(cells: Cells, { slotWords, maxSetBytes }: { slotWords: number; maxSetBytes: number }) {
  const slots = new Slots(slotWords);
  const answered: [number, number][] = [];
  const index = new BlockIndex({ cells, slots, slotWords, maxSetBytes, onAnswered: (key, slot) => answered.push([key, slot]) });
  const walk = new ChainWalk(slotWords);
  /** Slot → leading blocks held. */
  const reach = (keys: ArrayLike<number>) => {
    index.follow(keys, walk);
    return new Map([...walk.held.depths].flatMap((depth, slot) => (depth > 0 ? [[slot, depth]] : [])));
  };
  const store = (keys: Float64Array, slot: number) => index.change(keys, { slot, kind: KIND.hbm, holds: true });
  return { slots, index, answered, reach, store };
}

function chain(number: number, length: number): Float64Array {
  return Float64Array.from({ length }, (_, index) => (Math.imul(number * 5003 + index, 0x9e37_79b1) >>> 0) * 2 ** 21 + number);
}

it.each(MADE)('takes no more memory than it may, over %s', (_, make) => {
  const maxBlocks = 20_000;
  const { index, slots, store } = indexOf(make(maxBlocks), { slotWords: 10, maxSetBytes: maxBlocks * 5 });
  for (let slot = 0; slot < 256; slot++) slots.take();
  // Every block a different set: 8 bits of its number say who of eight instances holds it, and more of others.
  for (let number = 0; number < 400; number++)
    for (let bit = 0; bit < 9; bit++) if ((number >>> bit) & 1) store(chain(number, 100), (number * 7 + bit * 21) % 256);
  expect(index.size).toBeLessThanOrEqual(maxBlocks);
  expect(index.evicted).toBeGreaterThan(0);
  expect(index.bytes / maxBlocks).toBeLessThan(26);
});

it.each(MADE)('goes on learning when there is no room for one more set of owners, over %s', (_, make) => {
  const { index, slots, store, reach } = indexOf(make(10_000), { slotWords: 1, maxSetBytes: 0 });
  for (let slot = 0; slot < 32; slot++) slots.take();
  const holders = (number: number) => Array.from({ length: 12 }, (__, bit) => bit).filter((bit) => (number >>> bit) & 1);
  for (let number = 1; number < 4096; number++) {
    for (const slot of holders(number)) store(chain(number, 2), slot);
    const known = [...reach(chain(number, 2))];
    expect(known).toContainEqual([holders(number).at(-1), 2]);
    for (const [slot] of known) expect(holders(number)).toContain(slot);
  }
  // Earlier ones had to go, and nothing is said of anyone that does not hold it.
  expect(index.evicted).toBeGreaterThan(1000);
  for (let number = 1; number < 4096; number++) for (const slot of reach(chain(number, 2)).keys()) expect(holders(number)).toContain(slot);
});

it.each(MADE)('follows chains longer than one call of the cells, over %s', (_, make) => {
  const { slots, store, reach } = indexOf(make(10_000), { slotWords: 1, maxSetBytes: 0 });
  const [first, second] = [slots.take(), slots.take()];
  const keys = chain(1, 3000);
  store(keys, first);
  store(keys.subarray(0, 1024), second);
  expect(reach(keys)).toEqual(
    new Map([
      [first, 3000],
      [second, 1024],
    ]),
  );
  expect(reach([...keys.subarray(0, 1500), Number.NaN, ...keys.subarray(1501)])).toEqual(
    new Map([
      [first, 1500],
      [second, 1024],
    ]),
  );
  expect(reach([-1])).toEqual(new Map());
  // The hole is in the first call of the cells, and what comes after it fills more than one.
  expect(reach([...keys.subarray(0, 500), ...chain(2, 1), ...keys.subarray(501)])).toEqual(
    new Map([
      [first, 500],
      [second, 500],
    ]),
  );
});

it.each(MADE)('empties the cells of blocks that nobody holds any more, over %s', (_, make) => {
  const cells = make(10_000);
  const { index, slots, store, reach } = indexOf(cells, { slotWords: 1, maxSetBytes: 0 });
  const [gone, stays] = [slots.take(), slots.take()];
  store(chain(1, 5000), gone);
  store(chain(1, 100), stays);
  slots.retire(gone);
  expect(reach(chain(1, 5000))).toEqual(new Map([[stays, 100]]));
  for (let sweeps = 0; sweeps < 300; sweeps++) index.sweep(64);
  expect([index.size, cells.size]).toEqual([100, 100]);
  expect(reach(chain(1, 5000))).toEqual(new Map([[stays, 100]]));
});

it.each(MADE)('gives a slot out again only after every set was swept, in parts, over %s', (_, make) => {
  const { index, slots, store, reach } = indexOf(make(10_000), { slotWords: 1, maxSetBytes: 0 });
  for (let slot = 0; slot < 32; slot++) slots.take();
  const gone = 31;
  // 500 sets that hold the slot.
  for (let number = 1; number <= 500; number++) for (let bit = 0; bit < 9; bit++) if ((number >>> bit) & 1) store(chain(number, 1), bit);
  for (let number = 1; number <= 500; number++) store(chain(number, 1), gone);
  slots.retire(gone);
  let sweeps = 0;
  let slot = -1;
  for (; slot < 0 && sweeps < 1000; sweeps++) {
    index.sweep(10);
    slot = slots.take();
  }
  expect([slot, sweeps >= 50]).toEqual([gone, true]);
  for (let number = 1; number <= 500; number++) {
    const known = reach(chain(number, 1));
    expect([known.size > 0, known.has(gone)]).toEqual([true, false]);
  }
});

it.each(MADE)('lets few blocks go for one event that has no room for its sets, over %s', (_, make) => {
  const { index, slots, store, reach } = indexOf(make(10_000), { slotWords: 1, maxSetBytes: 0 });
  for (let slot = 0; slot < 32; slot++) slots.take();
  // As many sets as there may be, of two blocks each.
  for (let number = 1; number < 1024; number++) for (let bit = 0; bit < 10; bit++) if ((number >>> bit) & 1) store(chain(number, 2), bit);
  expect([index.evicted, index.size]).toEqual([0, 2046]);
  const firsts = Float64Array.from({ length: 1023 }, (__, index) => chain(index + 1, 1)[0] as number);
  store(firsts, 20);
  expect(index.evicted).toBeGreaterThan(0);
  expect(index.evicted).toBeLessThanOrEqual(64);
  for (const [at, key] of firsts.entries())
    for (const slot of reach([key]).keys()) expect(slot === 20 || ((at + 1) >>> slot) & 1).toBeTruthy();
});

it.each(MADE)('tells of expectations that came true or went with their block, over %s', (_, make) => {
  const { index, slots, answered, store } = indexOf(make(4), { slotWords: 1, maxSetBytes: 0 });
  const slot = slots.take();
  const [first, second] = [chain(1, 4), chain(2, 4)];
  index.change(first, { slot, kind: KIND.expected, holds: true });
  index.change(first, { slot, kind: KIND.expected, holds: true });
  expect(answered).toEqual([]);
  store(first.subarray(0, 1), slot);
  expect(answered).toEqual([[first[0], slot]]);
  store(second, slot);
  expect(new Set(answered.map(([key]) => key))).toEqual(new Set(first));
});
