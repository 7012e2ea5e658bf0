import fc from 'fast-check';
import { afterEach, expect, it, vi } from 'vitest';
import { checksum } from '../host/block.ts';
import { FrameMemory } from './framememory.ts';
import { blockFrameBytes } from './frames.ts';
import { blockFrame, chainOf } from './transfer.fixture.ts';

afterEach(() => vi.unstubAllGlobals());

it('keeps a block as the very bytes that a peer is sent', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 300 }), (blockTokens, bytesPerBlock) => {
      const chain = chainOf(3, { blockTokens, bytesPerBlock });
      const memory = new FrameMemory(chain);
      const frames = memory.take(3);
      const blocks = chain.blocks.map((block, i) => {
        memory.bytesOf(frames[i] as Buffer).set(block.bytes);
        return memory.block(frames[i] as Buffer, block);
      });
      for (const [i, block] of blocks.entries()) {
        const wanted = chain.blocks[i] as (typeof chain.blocks)[number];
        expect({ ...block, bytes: Buffer.from(block.bytes), frame: undefined }).toEqual({
          ...wanted,
          bytes: Buffer.from(wanted.bytes),
          frame: undefined,
        });
        expect(block.crc).toBe(checksum(block.bytes));
        expect(Buffer.compare(block.frame as Uint8Array, blockFrame(wanted))).toBe(0);
      }
    }),
  );
});

it('takes frames that lie behind each other, and the same ones again', () => {
  const shape = { blockTokens: 16, bytesPerBlock: 16_384 };
  const memory = new FrameMemory(shape);
  const adjacent = (frames: readonly Buffer[]) =>
    frames.every((frame, i) => {
      const before = frames[i - 1];
      return before === undefined || (before.buffer === frame.buffer && before.byteOffset + blockFrameBytes(shape) === frame.byteOffset);
    });
  const first = memory.take(100);
  const second = memory.take(100);
  expect([adjacent(first), adjacent(second)]).toEqual([true, true]);
  expect(new Set([...first, ...second].map((frame) => frame.byteOffset)).size).toBe(200);
  memory.give(first);
  const again = memory.take(100);
  expect(again).toEqual(first);
  expect(again.every((frame, i) => frame === first[i])).toBe(true);
});

it('grows by whole chunks, also by blocks larger than one, and never hands a frame out twice', () => {
  const memory = new FrameMemory({ blockTokens: 4, bytesPerBlock: 5 << 20 });
  const frames = memory.take(3);
  expect(new Set(frames.map((frame) => frame.buffer)).size).toBe(3);
  const small = new FrameMemory({ blockTokens: 4, bytesPerBlock: 100 });
  const many = small.take(10_000);
  const chunks = [...new Set(many.map((frame) => frame.buffer))];
  expect(new Set(many.map((frame) => `${chunks.indexOf(frame.buffer)}:${frame.byteOffset}`)).size).toBe(10_000);
});

it('has what it reserved from the beginning, and needs no more for it', () => {
  const shape = { blockTokens: 16, bytesPerBlock: 16_384 };
  // How much memory the process has would also tell what the collector freed meanwhile.
  const made: number[] = [];
  class Counted extends ArrayBuffer {
    constructor(bytes: number) {
      super(bytes);
      made.push(bytes);
    }
  }
  vi.stubGlobal('ArrayBuffer', Counted);
  const memory = new FrameMemory(shape, 2000);
  const reserved = made.reduce((sum, bytes) => sum + bytes, 0);
  expect(reserved).toBeGreaterThanOrEqual(2000 * blockFrameBytes(shape));
  expect(reserved).toBeLessThan(2000 * blockFrameBytes(shape) + (8 << 20));
  const chunks = made.length;
  expect(memory.take(2000)).toHaveLength(2000);
  expect(made).toHaveLength(chunks);
  expect(memory.take(2000)).toHaveLength(2000);
  expect(made.length).toBeGreaterThan(chunks);
});
