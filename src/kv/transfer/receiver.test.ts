import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { controlFrame, FRAME, HEADER_BYTES, writeHeader } from './frames.ts';
import type { PulledBlock } from './port.ts';
import { PullReceiver, pullSlabBytes, type Verdict } from './receiver.ts';
import { answerOf, areFirst, blockFrame, type Chain, chainOf } from './transfer.fixture.ts';

function receiverOf(chain: Chain) {
  const pulled: PulledBlock[] = [];
  const slab = Buffer.alloc(pullSlabBytes(chain.keys.length, chain.blockTokens, chain.bytesPerBlock), 0xee);
  const receiver = new PullReceiver({ ...chain, onBlock: (_, block) => pulled.push(block) }, slab);
  /** Feeds bytes in pieces of at most `piece`, as a socket would. */
  const feed = (bytes: Buffer, piece = bytes.length): Verdict | null => {
    for (let at = 0; at < bytes.length; ) {
      const room = receiver.room();
      const count = bytes.copy(room, 0, at, at + Math.min(piece, room.length));
      if (count === 0) throw new Error('no room');
      at += count;
      const verdict = receiver.advance(count);
      if (verdict) return verdict;
    }
    return null;
  };
  return { receiver, pulled, feed };
}

const CHAIN = chainOf(3);

describe('PullReceiver', () => {
  it('gives the same blocks however the bytes are cut', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 6 }),
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 9 }),
        (count, bytesPerBlock, piece) => {
          const chain = chainOf(count, { blockTokens: 3, bytesPerBlock });
          const { feed, pulled, receiver } = receiverOf(chain);
          expect(feed(answerOf(chain), piece)).toEqual({ type: 'complete' });
          expect(areFirst(pulled, chain, count)).toBe(true);
          expect(receiver.blocks).toBe(count);
        },
      ),
    );
  });

  it('hands out views of the slab and of the asked tokens, not copies', () => {
    const { feed, pulled } = receiverOf(CHAIN);
    feed(answerOf(CHAIN));
    expect(pulled.every((block) => block.tokens.buffer === CHAIN.tokens.buffer)).toBe(true);
    expect(new Set(pulled.map((block) => block.bytes.buffer)).size).toBe(1);
  });

  it('detects every flipped bit before the block leaves', () => {
    const answer = answerOf(CHAIN);
    const frameBytes = blockFrame(CHAIN.blocks[0] as never).length;
    const end = HEADER_BYTES + 3 * frameBytes;
    for (let bit = 0; bit < end * 8; bit++) {
      const flipped = Buffer.from(answer);
      flipped[bit >>> 3] = (flipped[bit >>> 3] as number) ^ (1 << (bit & 7));
      const { feed, pulled } = receiverOf(CHAIN);
      const whole = Math.max(0, Math.floor(((bit >>> 3) - HEADER_BYTES) / frameBytes));
      expect(feed(flipped)?.type).toBe('failed');
      if (!areFirst(pulled, CHAIN, whole)) throw new Error(`bit ${bit}: ${pulled.length} blocks came instead of ${whole}`);
    }
  });

  it('goes on after a cut at any byte without asking again for what came', () => {
    const answer = answerOf(CHAIN);
    for (let cut = 0; cut < answer.length - HEADER_BYTES; cut++) {
      const { receiver, feed, pulled } = receiverOf(CHAIN);
      expect(feed(answer.subarray(0, cut))).toBeNull();
      receiver.restart();
      const firstHalf = receiver.blocks;
      expect(feed(answerOf(CHAIN, firstHalf).subarray(0, HEADER_BYTES + 40))).toBeNull();
      receiver.restart();
      expect(feed(answerOf(CHAIN, firstHalf))).toEqual({ type: 'complete' });
      if (!areFirst(pulled, CHAIN, 3)) throw new Error(`cut at ${cut}: blocks differ`);
    }
  });

  it('never runs out of room, and leaves the blocks alone, when bytes go on behind the end', () => {
    const { receiver, feed, pulled } = receiverOf(CHAIN);
    feed(answerOf(CHAIN));
    for (let round = 0; round < 1000; round++) {
      const room = receiver.room();
      expect(room.length).toBeGreaterThan(0);
      room.fill(0xff);
    }
    expect(areFirst(pulled, CHAIN, 3)).toBe(true);
  });

  it.each<[string, Buffer, RegExp]>([
    [
      'no frames',
      Buffer.from('HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n'),
      /block 0 of 3: the peer sent bytes that are no frame/,
    ],
    ['a block before accepting', blockFrame(CHAIN.blocks[0] as never), /out of turn/],
    ['another number of blocks accepted', controlFrame(FRAME.accept, 0, 2), /accepted 2 blocks instead of 3/],
    [
      'a later block',
      Buffer.concat([controlFrame(FRAME.accept, 0, 3), blockFrame(CHAIN.blocks[1] as never)]),
      /sent another block in its place/,
    ],
    ['an early end', Buffer.concat([controlFrame(FRAME.accept, 0, 3), controlFrame(FRAME.end, 0, 0)]), /ended too early/],
    ['a lost lease', controlFrame(FRAME.error, 0, 4), /block 0 of 3: the peer does not know the lease, or it is over/],
    ['a missing block', Buffer.concat([controlFrame(FRAME.accept, 0, 3), controlFrame(FRAME.error, 0, 5)]), /the peer does not hold it/],
    ['an unknown error', controlFrame(FRAME.error, 0, 99), /ended with unknown code 99/],
    ['accepting twice', Buffer.concat([controlFrame(FRAME.accept, 0, 3), controlFrame(FRAME.accept, 0, 3)]), /out of turn/],
  ])('says what the peer did wrong: %s', (_, bytes, reason) => {
    const { feed, pulled } = receiverOf(CHAIN);
    expect(feed(bytes)).toEqual({ type: 'failed', reason: expect.stringMatching(reason) });
    expect(pulled).toEqual([]);
  });

  it('refuses a wrong size from the header alone, however large it is', () => {
    const { feed } = receiverOf(CHAIN);
    const header = Buffer.alloc(HEADER_BYTES);
    writeHeader(header, 0, { type: FRAME.block, index: 0, length: 0xffffffff, crc: 0, count: 4 });
    expect(feed(Buffer.concat([controlFrame(FRAME.accept, 0, 3), header]))).toEqual({
      type: 'failed',
      reason: 'block 0 of 3: 4294967295 bytes, expected 100',
    });
  });

  it('refuses right bytes under the right key for other tokens', () => {
    const other = { ...CHAIN, tokens: Int32Array.from(CHAIN.tokens, (token, at) => (at === 5 ? token + 1 : token)) };
    const { feed, pulled } = receiverOf(other);
    expect(feed(answerOf(CHAIN))).toEqual({ type: 'failed', reason: 'block 1 of 3: other tokens under the same key' });
    expect(pulled).toHaveLength(1);
  });
});
