import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Cells, capacityFor, MAX_KEYS, scaleFor } from './cells.ts';
import { ScriptCells } from './scriptcells.ts';
import { WasmCells } from './wasmcells.ts';

const MADE: readonly [string, (limit: number) => Cells][] = [
  ['WebAssembly', (limit) => new WasmCells(limit)],
  ['TypeScript', (limit) => new ScriptCells(limit)],
];

/** Keys that share first cells, at the start of the table and around its end, and keys from all over. */
const key = fc.oneof(
  fc.nat(12),
  fc.nat(12).map((back) => Number.MAX_SAFE_INTEGER - back),
  fc.nat(40).map((number) => number * 0x6_0000_0000_003 + 7),
);
const keys = fc.array(key, { maxLength: 24 });
const value = fc.constantFrom(0, 1, 2, 3, 2 ** 30 - 1);
const act = fc.oneof(
  fc.record({ type: fc.constant('find' as const), keys }),
  fc.record({ type: fc.constant('absent' as const), keys, from: fc.nat(3) }),
  fc.record({ type: fc.constant('move' as const), keys, from: fc.nat(3), old: value, next: value }),
  fc.record({ type: fc.constant('move' as const), keys, from: fc.constant(0), old: fc.constant(0), next: value }),
  fc.record({ type: fc.constant('evict' as const), keys, count: fc.nat(5) }),
);
type Act = typeof act extends fc.Arbitrary<infer T> ? T : never;

function play(cells: Cells, next: Act): number {
  cells.keys.set(next.keys);
  const count = next.keys.length;
  switch (next.type) {
    case 'find':
      return cells.find(count);
    case 'absent':
      return cells.absent(next.from, count);
    case 'move':
      return cells.move(next.from, count, next.old, next.next);
    case 'evict':
      return cells.evict(next.count);
  }
}

it('are the same to the last bit in WebAssembly and in TypeScript', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.array(act, { maxLength: 60 }), (limit, acts) => {
      const wasm = new WasmCells(limit);
      const script = new ScriptCells(limit);
      for (const next of acts) {
        expect(play(wasm, next)).toBe(play(script, next));
        expect(wasm.size).toBe(script.size);
        expect(wasm.words).toEqual(script.words);
        expect(wasm.values).toEqual(script.values);
        expect(wasm.gone).toEqual(script.gone);
      }
    }),
    { numRuns: 200 },
  );
});

it('start the search for any key inside the table', () => {
  for (const capacity of [capacityFor(1), 1000, capacityFor(10_000_000), capacityFor(2 ** 26)])
    expect(Math.floor(Number.MAX_SAFE_INTEGER * scaleFor(capacity))).toBe(capacity - 1);
});

describe.each(MADE)('cells in %s', (_, make) => {
  it('hold what was put in and not taken out', () => {
    fc.assert(
      fc.property(fc.array(act, { maxLength: 60 }), (acts) => {
        const limit = 30;
        const cells = make(limit);
        const model = new Map<number, number>();
        for (const next of acts) {
          const result = play(cells, next);
          if (next.type === 'move') expect(result).toBe(moved(model, next, limit));
          if (next.type === 'absent') {
            const expected = next.keys.slice(next.from).filter((other) => !model.has(other)).length;
            expect(result).toBe(expected);
          }
          if (next.type === 'find') {
            const miss = next.keys.findIndex((other) => !model.has(other));
            const found = miss < 0 ? next.keys : next.keys.slice(0, miss);
            expect([...cells.values.subarray(0, result)]).toEqual(found.map((other) => model.get(other)));
          }
          if (next.type === 'evict') {
            expect(result).toBe(Math.min(next.count, model.size));
            for (let index = 0; index < result; index++) {
              const gone = cells.gone[index] as number;
              expect(cells.values[index]).toBe(model.get(gone));
              model.delete(gone);
            }
          }
          expect(cells.size).toBe(model.size);
        }
      }),
      { numRuns: 200 },
    );
  });

  it('give up what was not looked up lately', () => {
    const cells = make(300);
    const mixed = (index: number) => ((index * 0x9e37_79b9) % 2 ** 32) * 2 ** 21;
    for (let round = 0; round < 3; round++) {
      for (let index = 0; index < 100; index++) cells.keys[index] = mixed(round * 100 + index);
      expect(cells.move(0, 100, 0, 1)).toBe(100);
    }
    for (let index = 0; index < 100; index++) cells.keys[index] = mixed(index);
    expect(cells.find(100)).toBe(100);
    expect(cells.evict(200)).toBe(200);
    expect(cells.find(100)).toBe(100);
  });

  it('give something up soon even when everything was looked up lately', () => {
    const cells = make(10_000);
    for (let from = 0; from < 10_000; from += 1000) {
      for (let index = 0; index < 1000; index++) cells.keys[index] = (from + index) * 0x8_0000_0000;
      cells.move(0, 1000, 0, 1);
      cells.find(1000);
    }
    const before = cells.words.slice();
    expect(cells.evict(1)).toBe(1);
    const aged = before.filter((word, at) => at % 3 === 2 && word !== cells.words[at]);
    expect(aged.length).toBeLessThanOrEqual(1024);
    expect(aged.length).toBeGreaterThan(1000);
  });

  it('leave no crowd behind when new keys take the place of old ones', () => {
    const limit = 3000;
    const cells = make(limit);
    for (let number = 0; number < 10 * limit; number += 100) {
      for (let index = 0; index < 100; index++) cells.keys[index] = (Math.imul(number + index, 0x9e37_79b1) >>> 0) * 2 ** 21;
      if (cells.size === limit) expect(cells.evict(100)).toBe(100);
      expect(cells.move(0, 100, 0, 1)).toBe(100);
    }
    let longest = 0;
    for (let at = 2, run = 0; at < cells.words.length; at += 3) {
      run = cells.words[at] === 0 ? 0 : run + 1;
      longest = Math.max(longest, run);
    }
    expect(longest).toBeLessThan(100);
  });

  it('take a whole call of keys', () => {
    const cells = make(2 * MAX_KEYS);
    for (let index = 0; index < MAX_KEYS; index++) cells.keys[index] = index * 0x7_0000_0001;
    expect(cells.move(0, MAX_KEYS, 0, 5)).toBe(MAX_KEYS);
    expect(cells.find(MAX_KEYS)).toBe(MAX_KEYS);
    expect(cells.move(0, MAX_KEYS, 5, 0)).toBe(MAX_KEYS);
    expect(cells.words.every((word) => word === 0)).toBe(true);
  });
});

/** `Cells.move` with a map. */
function moved(model: Map<number, number>, { keys: asked, from, old, next }: Extract<Act, { old: number }>, limit: number): number {
  for (let index = from; index < asked.length; index++) {
    const at = asked[index] as number;
    const found = model.get(at) ?? 0;
    if (found !== old || (found === 0 && next !== 0 && model.size >= limit)) return index;
    if (next === 0) model.delete(at);
    else model.set(at, next);
  }
  return Math.max(from, asked.length);
}
