import type { Socket } from 'node:net';
import { expect, it } from 'vitest';
import { Batch } from './batch.ts';
import { FrameMemory } from './framememory.ts';
import { Staging } from './staging.ts';
import { blockFrame, chainOf } from './transfer.fixture.ts';

const CHAIN = chainOf(6);

/** Blocks of the chain; those named in `kept` as frames in memory of their own. */
function blocksOf(kept: readonly number[]) {
  const memory = new FrameMemory(CHAIN);
  const frames = memory.take(kept.length);
  return CHAIN.blocks.map((block, i) => {
    const frame = frames[kept.indexOf(i)];
    if (!frame) return block;
    memory.bytesOf(frame).set(block.bytes);
    return memory.block(frame, block);
  });
}

/** What a batch of these blocks writes, each piece copied; the callback of the last write. */
function writtenOf(kept: readonly number[], staging: Staging) {
  const pieces: Uint8Array[] = [];
  const done: ((error?: Error | null) => void)[] = [];
  const socket = {
    cork: () => undefined,
    uncork: () => undefined,
    write: (bytes: Uint8Array, taken?: (error?: Error | null) => void) => {
      pieces.push(bytes);
      if (taken) done.push(taken);
      return true;
    },
  } satisfies Partial<Record<keyof Socket, unknown>>;
  const blocks = blocksOf(kept);
  const batch = new Batch(CHAIN, blocks.length, staging);
  for (const block of blocks) batch.add(block);
  let taken = 0;
  batch.writeTo(socket as Pick<Socket, keyof typeof socket> as Socket, () => {
    taken += 1;
  });
  return { blocks, pieces, done, taken: () => taken };
}

const staging = () => new Staging({ bytes: 4096, kept: 2 });
const WHOLE = Buffer.concat(CHAIN.blocks.map(blockFrame));

it.each<[string, number[], number]>([
  ['blocks without frames: one piece', [], 1],
  ['frames behind each other: one piece, not copied', [0, 1, 2, 3, 4, 5], 1],
  ['frames in another order than they lie in', [5, 4, 3, 2, 1, 0], 6],
  ['some of each', [0, 1, 4], 4],
])('writes the same bytes for %s', (_, kept, count) => {
  const { blocks, pieces } = writtenOf(kept, staging());
  expect(Buffer.concat(pieces)).toEqual(WHOLE);
  expect(pieces).toHaveLength(count);
  if (kept.includes(0)) expect(pieces[0]?.buffer).toBe(blocks[0]?.bytes.buffer);
});

it('gives staging memory back when the socket took the bytes, and not before', () => {
  const memory = staging();
  const { pieces, done, taken } = writtenOf([1], memory);
  const staged = pieces[0]?.buffer;
  expect(memory.take(1).buffer).not.toBe(staged);
  expect([done.length, taken()]).toEqual([1, 0]);
  done[0]?.();
  expect(taken()).toBe(1);
  expect(memory.take(1).buffer).toBe(staged);
});
