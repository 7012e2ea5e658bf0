import { getEventListeners } from 'node:events';
import { createServer } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { FakeClock } from '../../shared/index.ts';
import { TokenBucket } from './budget.ts';
import { pull } from './client.ts';
import { controlFrame, FRAME, HEADER_BYTES } from './frames.ts';
import { pullSlabBytes } from './receiver.ts';
import {
  answeringPeer,
  answerOf,
  areFirst,
  blockFrame,
  CountingClock,
  chainOf,
  endAll,
  rawPeer,
  requestFor,
  SOON,
} from './transfer.fixture.ts';

afterEach(endAll);

const CHAIN = chainOf(3);
const ANSWER = answerOf(CHAIN);
const FRAME_BYTES = blockFrame(CHAIN.blocks[0] as never).length;

/** Pulls `CHAIN` with a clock that stands still; moves it when the peer got to the point that `when` waits for. */
async function pullUntilDeadline(port: number, when: () => void) {
  const fake = new FakeClock();
  const clock = new CountingClock(fake);
  const { request, pulled } = requestFor(CHAIN, port, { clock, deadlineMs: 250 });
  const running = pull(request);
  await vi.waitFor(when, SOON);
  fake.advance(250);
  return { result: await running, pulled, pending: clock.pending };
}

describe('a right peer', () => {
  it('gives all blocks and is acknowledged', async () => {
    let said = Buffer.alloc(0);
    const peer = await rawPeer((socket) => {
      socket.once('data', () => socket.write(ANSWER));
      socket.on('data', (chunk) => {
        said = Buffer.concat([said, chunk]);
      });
      socket.on('end', () => socket.end());
    });
    const clock = new CountingClock();
    const { signal } = new AbortController();
    const { request, pulled } = requestFor(CHAIN, peer.port, { clock, signal });
    const result = await pull(request);
    expect(result).toEqual({ blocks: 3, bytes: 300, ms: expect.any(Number), failed: null });
    expect(areFirst(pulled, CHAIN, 3)).toBe(true);
    await vi.waitFor(() => expect(peer.open.size).toBe(0), SOON);
    expect(said.subarray(-HEADER_BYTES)).toEqual(controlFrame(FRAME.ack, 3, 0));
    await vi.waitFor(() => expect(clock.pending).toBe(0), SOON);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it('may send garbage behind the end', async () => {
    const peer = await answeringPeer(() => Buffer.concat([ANSWER, Buffer.alloc(100_000, 0x55)]));
    const { request, pulled } = requestFor(CHAIN, peer.port);
    expect(await pull(request)).toMatchObject({ blocks: 3, failed: null });
    expect(areFirst(pulled, CHAIN, 3)).toBe(true);
    await vi.waitFor(() => expect(peer.open.size).toBe(0), SOON);
  });

  it('that never closes is left behind after a while', async () => {
    const peer = await answeringPeer(() => ANSWER, 'stay half open');
    const fake = new FakeClock();
    const clock = new CountingClock(fake);
    const { request } = requestFor(CHAIN, peer.port, { clock });
    expect(await pull(request)).toMatchObject({ blocks: 3, failed: null });
    expect([clock.pending, peer.open.size]).toEqual([1, 1]);
    fake.advance(1000);
    expect(clock.pending).toBe(0);
    await vi.waitFor(() => {
      // Writing to a connection that the other side has left resets it.
      for (const socket of peer.open) socket.write('more');
      expect(peer.open.size).toBe(0);
    }, SOON);
  });

  it('is read into the memory that was given', async () => {
    const peer = await answeringPeer(() => ANSWER);
    const slab = Buffer.alloc(pullSlabBytes(3, CHAIN.blockTokens, CHAIN.bytesPerBlock));
    const buffers = new Set<ArrayBufferLike>();
    const { request } = requestFor(CHAIN, peer.port, { slab, onBlock: (_, block) => buffers.add(block.bytes.buffer) });
    await pull(request);
    expect([...buffers]).toEqual([slab.buffer]);
  });

  it('is not read faster than the budget allows', async () => {
    const peer = await answeringPeer(() => ANSWER);
    const fake = new FakeClock();
    const bucket = new TokenBucket(1000, 0, 0);
    const { request, pulled } = requestFor(CHAIN, peer.port, { clock: fake, budget: bucket, deadlineMs: 60_000 });
    const running = pull(request);
    let endedAt = -1;
    void running.then(() => {
      endedAt = fake.now();
    });
    // Bytes come in any number of reads; each waits for its own time, so the clock is moved until the end.
    await vi.waitFor(() => {
      fake.advance(10);
      expect(endedAt).toBeGreaterThan(0);
    }, SOON);
    expect(await running).toMatchObject({ blocks: 3, failed: null });
    expect(areFirst(pulled, CHAIN, 3)).toBe(true);
  });
});

describe('a lost connection', () => {
  it('cut at any byte is resumed at the first missing block', async () => {
    for (let cut = 1; cut < ANSWER.length - HEADER_BYTES; cut += 17) {
      const peer = await rawPeer((socket, count) => {
        socket.once('data', (asked) => {
          const from = (asked as Buffer).readUInt32LE(8);
          if (count === 1) socket.end(ANSWER.subarray(0, cut));
          else socket.end(answerOf(CHAIN, from));
        });
      });
      const { request, pulled } = requestFor(CHAIN, peer.port);
      expect(await pull(request)).toMatchObject({ blocks: 3, bytes: 300, failed: null });
      expect(areFirst(pulled, CHAIN, 3)).toBe(true);
      expect(peer.accepted).toBe(2);
    }
  });

  it('again and again ends with what came', async () => {
    const peer = await rawPeer((socket) => {
      socket.once('data', (asked) =>
        socket.end(answerOf(chainOf(5), (asked as Buffer).readUInt32LE(8)).subarray(0, HEADER_BYTES + FRAME_BYTES + 50)),
      );
    });
    const chain = chainOf(5);
    const { request, pulled } = requestFor(chain, peer.port);
    expect(await pull(request)).toEqual({
      blocks: 3,
      bytes: 300,
      ms: expect.any(Number),
      failed: 'the peer closed the connection after 3 of 5 blocks, 3 times tried',
    });
    expect(areFirst(pulled, chain, 3)).toBe(true);
  });

  it('is given up after three connections', async () => {
    const peer = await rawPeer((socket) => socket.destroy());
    const clock = new CountingClock();
    const { request } = requestFor(CHAIN, peer.port, { clock });
    const result = await pull(request);
    expect(result).toMatchObject({ blocks: 0, bytes: 0 });
    expect(result.failed).toMatch(/^(the peer closed the connection|connection lost \(E[A-Z]+\)) after 0 of 3 blocks, 3 times tried$/);
    expect([peer.accepted, clock.pending]).toEqual([3, 0]);
  });

  it('is not tried again when nobody listens', async () => {
    const port = await new Promise<number>((resolve) => {
      const server = createServer().listen(0, '127.0.0.1', () => {
        const address = server.address();
        server.close(() => resolve(address !== null && typeof address === 'object' ? address.port : 0));
      });
    });
    const clock = new CountingClock();
    expect((await pull(requestFor(CHAIN, port, { clock }).request)).failed).toBe('cannot connect to the peer (ECONNREFUSED)');
    expect(clock.pending).toBe(0);
  });
});

describe('a peer at fault', () => {
  it.each<[string, Buffer, number, string]>([
    ['other version', Buffer.from(ANSWER).fill(9, 4, 5), 0, 'block 0 of 3: the peer sent protocol version 9, expected 2'],
    ['flipped bit in the last block', flipped(HEADER_BYTES + 3 * FRAME_BYTES - 20), 2, 'block 2 of 3: wrong checksum'],
    [
      'flipped bit in token ids',
      flipped(HEADER_BYTES + FRAME_BYTES + HEADER_BYTES + 3),
      1,
      'block 1 of 3: other tokens under the same key',
    ],
    [
      'out of order',
      Buffer.concat([controlFrame(FRAME.accept, 0, 3), frameOf(0), frameOf(2)]),
      1,
      'block 1 of 3: the peer sent another block in its place',
    ],
    [
      'missing block',
      Buffer.concat([controlFrame(FRAME.accept, 0, 3), frameOf(0), controlFrame(FRAME.error, 1, 5)]),
      1,
      'block 1 of 3: the peer does not hold it',
    ],
    [
      'not our protocol',
      Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n<html></html>'),
      0,
      'block 0 of 3: the peer sent bytes that are no frame',
    ],
  ])('%s: ends there, is told, and is not asked again', async (_, answer, blocks, failed) => {
    const peer = await answeringPeer(() => answer);
    const clock = new CountingClock();
    const { request, pulled } = requestFor(CHAIN, peer.port, { clock });
    expect(await pull(request)).toEqual({ blocks, bytes: blocks * 100, ms: expect.any(Number), failed });
    expect(areFirst(pulled, CHAIN, blocks)).toBe(true);
    await vi.waitFor(() => expect(peer.open.size).toBe(0), SOON);
    expect([peer.accepted, clock.pending]).toEqual([1, 0]);
  });

  it('that accepts and never answers costs no more than the deadline', async () => {
    const peer = await rawPeer((socket) => socket.on('data', () => {}));
    const { result, pulled, pending } = await pullUntilDeadline(peer.port, () => expect(peer.accepted).toBe(1));
    expect(result).toEqual({ blocks: 0, bytes: 0, ms: 250, failed: 'deadline of 250 ms passed after 0 of 3 blocks' });
    expect([pulled.length, pending]).toEqual([0, 0]);
    await vi.waitFor(() => expect(peer.open.size).toBe(0), SOON);
  });

  it('that drips costs no more than the deadline, and what came is kept', async () => {
    const peer = await answeringPeer(() => ANSWER.subarray(0, HEADER_BYTES + FRAME_BYTES + 1), 'stay');
    const { request, pulled } = requestFor(CHAIN, peer.port);
    const fake = new FakeClock();
    const running = pull({ ...request, clock: fake, deadlineMs: 250 });
    await vi.waitFor(() => expect(pulled.length).toBe(1), SOON);
    for (let byte = 0; byte < 25; byte++) {
      for (const socket of peer.open) socket.write(Buffer.from([ANSWER[HEADER_BYTES + FRAME_BYTES + 1 + byte] as number]));
      fake.advance(10);
    }
    expect(await running).toEqual({ blocks: 1, bytes: 100, ms: 250, failed: 'deadline of 250 ms passed after 1 of 3 blocks' });
  });

  it('has no time at all when the deadline is 0', async () => {
    const peer = await rawPeer(() => {});
    const { request } = requestFor(CHAIN, peer.port, { deadlineMs: 0 });
    expect((await pull(request)).failed).toBe('deadline of 0 ms passed after 0 of 3 blocks');
    expect(peer.accepted).toBe(0);
  });
});

describe('the caller', () => {
  it('may cancel in the middle, before, and while waiting to connect again', async () => {
    const controller = new AbortController();
    const peer = await answeringPeer(() => ANSWER.subarray(0, HEADER_BYTES + 2 * FRAME_BYTES), 'stay');
    const clock = new CountingClock();
    const { request, pulled } = requestFor(CHAIN, peer.port, { clock, signal: controller.signal });
    const running = pull(request);
    await vi.waitFor(() => expect(pulled.length).toBe(2), SOON);
    controller.abort();
    expect(await running).toMatchObject({ blocks: 2, failed: 'cancelled after 2 of 3 blocks' });
    await vi.waitFor(() => expect(peer.open.size).toBe(0), SOON);
    expect(await pull(request)).toMatchObject({ blocks: 0, failed: 'cancelled after 0 of 3 blocks' });
    expect([peer.accepted, clock.pending]).toEqual([1, 0]);

    const closing = await rawPeer((socket) => socket.destroy());
    const second = new AbortController();
    const still = new CountingClock(new FakeClock());
    const waiting = pull({ ...request, port: closing.port, clock: still, signal: second.signal });
    await vi.waitFor(() => expect([closing.accepted, still.pending]).toEqual([1, 1]), SOON);
    await new Promise((resolve) => setImmediate(resolve));
    second.abort();
    expect((await waiting).failed).toBe('cancelled after 0 of 3 blocks');
  });

  it('gets back what onBlock throws, and nothing stays open', async () => {
    const peer = await answeringPeer(() => ANSWER, 'stay');
    const clock = new CountingClock();
    const fault = new Error('no room for the block');
    const { request } = requestFor(CHAIN, peer.port, {
      clock,
      onBlock: () => {
        throw fault;
      },
    });
    await expect(pull(request)).rejects.toBe(fault);
    await vi.waitFor(() => expect(peer.open.size).toBe(0), SOON);
    expect(clock.pending).toBe(0);
  });

  it.each<[string, object, RegExp]>([
    ['lease', { lease: '' }, /^lease: expected 1 to 128 ASCII characters$/],
    ['lease', { lease: 'a b' }, /^lease/],
    ['peer', { peer: 'x'.repeat(129) }, /^peer/],
    ['tokens', { tokens: new Int32Array(11) }, /^tokens: expected 12 token ids or more, got 11$/],
    ['keys', { keys: ['zz'] }, /^keys: expected 32 lower-case hex digits each$/],
    ['blockTokens', { blockTokens: 0 }, /^blockTokens/],
    ['bytesPerBlock', { bytesPerBlock: 1.5 }, /^bytesPerBlock/],
    ['deadlineMs', { deadlineMs: Number.NaN }, /^deadlineMs/],
    ['deadlineMs', { deadlineMs: Number.POSITIVE_INFINITY }, /^deadlineMs/],
    ['slab', { slab: new Uint8Array(10) }, /^slab: expected \d+ bytes or more$/],
    ['slab', { slab: new Uint8Array(new ArrayBuffer(10_001), 1) }, /^slab: expected an address that is a multiple of 4, got 1$/],
  ])('is told which argument is wrong: %s', async (_, wrong, message) => {
    const { request } = requestFor(CHAIN, 1, wrong);
    await expect(pull(request)).rejects.toThrow(message);
  });
});

function frameOf(index: number): Buffer {
  return blockFrame(CHAIN.blocks[index] as never);
}

function flipped(at: number): Buffer {
  const bytes = Buffer.from(ANSWER);
  bytes[at] = (bytes[at] as number) ^ 0x10;
  return bytes;
}
