import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { blockBytes, cutBlocks, joinBlocks, layoutName, readLayout, type StateLayout, stateBytes } from './statelayout.ts';

const layoutOf = (options: { streams: number; layers: number; kRowBytes: number; vWidth: number; vElementBytes: number }): StateLayout => ({
  streams: options.streams,
  layers: Array.from({ length: options.layers }, () => ({
    kType: 1,
    kRowBytes: options.kRowBytes,
    vType: 1,
    vElementBytes: options.vElementBytes,
    vWidth: options.vWidth,
  })),
});

const layouts = fc
  .record({
    streams: fc.integer({ min: 1, max: 5 }),
    layers: fc.integer({ min: 1, max: 3 }),
    kRowBytes: fc.constantFrom(4, 8, 128),
    vWidth: fc.integer({ min: 1, max: 9 }),
    vElementBytes: fc.constantFrom(2, 4),
  })
  .map(layoutOf);

const randomBlocks = (layout: StateLayout, count: number, blockTokens: number): Uint8Array[] =>
  Array.from({ length: count }, (_, b) =>
    Uint8Array.from({ length: blockBytes(layout, blockTokens) }, (_, i) => (i * 31 + b * 101 + (i >> 8)) & 255),
  );

describe('cutting and joining KV state', () => {
  it('gives back every block of every layout', () => {
    fc.assert(
      fc.property(layouts, fc.integer({ min: 1, max: 9 }), fc.constantFrom(1, 2, 3, 8, 16), (layout, count, blockTokens) => {
        const blocks = randomBlocks(layout, count, blockTokens);
        const state = joinBlocks(layout, blocks, { blockTokens, sequence: 3 });
        expect(readLayout(state)).toEqual(layout);
        const from = count >> 1;
        expect(cutBlocks(layout, state, { from, to: count, blockTokens })).toEqual(blocks.slice(from));
      }),
    );
  });

  it('joins blocks that are views at odd addresses, as a receive buffer gives them', () => {
    const layout = layoutOf({ streams: 2, layers: 2, kRowBytes: 8, vWidth: 3, vElementBytes: 2 });
    const blocks = randomBlocks(layout, 4, 16);
    const odd = blocks.map((block) => {
      const memory = new Uint8Array(block.length + 1);
      memory.set(block, 1);
      return memory.subarray(1);
    });
    expect(joinBlocks(layout, odd, { blockTokens: 16, sequence: 0 })).toEqual(joinBlocks(layout, blocks, { blockTokens: 16, sequence: 0 }));
  });

  it('writes into memory that was used before, and into views of it', () => {
    fc.assert(
      fc.property(layouts, fc.integer({ min: 1, max: 5 }), fc.constantFrom(2, 8, 16), (layout, count, blockTokens) => {
        const blocks = randomBlocks(layout, count, blockTokens);
        const fresh = joinBlocks(layout, blocks, { blockTokens, sequence: 3 });
        const used = new Uint8Array(stateBytes(layout, count * blockTokens) + 9).fill(0xee);
        const state = joinBlocks(layout, blocks, { blockTokens, sequence: 3, memory: used });
        expect(state).toEqual(fresh);
        expect([...used.subarray(state.length)]).toEqual(Array.from({ length: 9 }, () => 0xee));
        const size = blockBytes(layout, blockTokens);
        const shared = new Uint8Array(count * (size + 4) + 4).fill(0xee);
        const targets = blocks.map((_, i) => new Uint8Array(shared.buffer, 4 + i * (size + 4), size));
        expect(cutBlocks(layout, state, { from: 0, to: count, blockTokens }, targets)).toEqual(blocks);
        const between = targets.flatMap((target) => [...shared.subarray(target.byteOffset - 4, target.byteOffset)]);
        expect(new Set(between)).toEqual(new Set([0xee]));
      }),
    );
  });

  it('refuses blocks of another size and states that are cut, longer or out of order', () => {
    const layout = layoutOf({ streams: 2, layers: 2, kRowBytes: 8, vWidth: 3, vElementBytes: 2 });
    const blocks = randomBlocks(layout, 3, 16);
    expect(() => joinBlocks(layout, [...blocks, new Uint8Array(5)], { blockTokens: 16, sequence: 0 })).toThrow('block 3 has 5 bytes');
    const state = joinBlocks(layout, blocks, { blockTokens: 16, sequence: 0 });
    const cut = { from: 0, to: 1, blockTokens: 16 };
    expect(() => cutBlocks(layout, state.slice(0, -1), cut)).toThrow(RangeError);
    expect(() => cutBlocks(layout, Uint8Array.from([...state, 0]), cut)).toThrow(RangeError);
    expect(() => cutBlocks(layout, state, { ...cut, to: 4 })).toThrow('block 3 is not in a state of 48 tokens');
    expect(() => cutBlocks(layout, state, cut, [])).toThrow('0 targets for 1 blocks');
    expect(() => cutBlocks(layout, state, cut, [new Uint8Array(5)])).toThrow('a target of 5 bytes');
    const small = new Uint8Array(state.length - 1);
    expect(() => joinBlocks(layout, blocks, { blockTokens: 16, sequence: 0, memory: small })).toThrow(`a state of ${state.length}`);
    const shuffled = state.slice();
    new DataView(shuffled.buffer).setInt32(16, 7, true);
    expect(() => cutBlocks(layout, shuffled, cut)).toThrow('cell 0 is not position 0');
  });

  it('names a layout by all that decides whether blocks fit', () => {
    const base = { streams: 1, layers: 2, kRowBytes: 128, vWidth: 64, vElementBytes: 2 };
    const names = [base, { ...base, layers: 3 }, { ...base, kRowBytes: 256 }, { ...base, vWidth: 32 }, { ...base, vElementBytes: 4 }].map(
      (options) => layoutName(layoutOf(options)),
    );
    expect(new Set(names).size).toBe(5);
    expect(layoutName(layoutOf({ ...base, streams: 16 }))).toBe(names[0]);
  });
});
