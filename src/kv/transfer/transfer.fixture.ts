/** Blocks, bytes and peers for the tests of the transfer. */
import { createServer, type Socket } from 'node:net';
import { type Cancel, type Clock, systemClock } from '../../shared/index.ts';
import { type KvBlock, kvBlock } from '../host/block.ts';
import { blockKeys } from '../identity/keys.ts';
import { keyHexes } from '../identity/names.ts';
import { type BlockShape, blockFrameBytes, controlFrame, FRAME, writeBlockFrame } from './frames.ts';
import type { PulledBlock, PullRequest } from './port.ts';

export interface Chain extends BlockShape {
  readonly keys: string[];
  readonly tokens: Int32Array;
  readonly blocks: KvBlock[];
}

export function chainOf(count: number, shape: BlockShape = { blockTokens: 4, bytesPerBlock: 100 }): Chain {
  const { blockTokens, bytesPerBlock } = shape;
  const tokens = Int32Array.from({ length: count * blockTokens }, (_, at) => Math.imul(at + 1, 0x9e3779b1) >>> 12);
  const keys = keyHexes(blockKeys(Uint32Array.from([1, 2, 3, 4]), tokens, blockTokens));
  const blocks = keys.map((key, index) => {
    const bytes = new Uint8Array(bytesPerBlock);
    for (let at = 0; at < bytesPerBlock; at++) bytes[at] = Math.imul(index * 131 + at, 0x85ebca6b) >>> 24;
    return kvBlock(key, keys[index - 1] ?? null, tokens.slice(index * blockTokens, (index + 1) * blockTokens), bytes);
  });
  return { keys, tokens, blocks, blockTokens, bytesPerBlock };
}

/** Frame of `block` as a server writes it. */
export function blockFrame(block: KvBlock): Buffer {
  const shape = { blockTokens: block.tokens.length, bytesPerBlock: block.bytes.length };
  const frame = Buffer.alloc(blockFrameBytes(shape));
  writeBlockFrame(frame, 0, block);
  return frame;
}

/** Everything that a right server writes for the blocks from `from` on. */
export function answerOf(chain: Chain, from = 0): Buffer {
  const frames = chain.blocks.slice(from).map(blockFrame);
  return Buffer.concat([controlFrame(FRAME.accept, from, frames.length), ...frames, controlFrame(FRAME.end, chain.blocks.length, 0)]);
}

/** What the tests wait for comes at once; a busy machine may take longer for anything. */
export const SOON = { timeout: 10_000, interval: 2 } as const;

/** A clock on another one that knows how many timers are pending. */
export class CountingClock implements Clock {
  pending = 0;
  readonly #clock: Clock;
  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }
  now(): number {
    return this.#clock.now();
  }
  wall(): number {
    return this.#clock.wall();
  }
  after(ms: number, run: () => void): Cancel {
    this.pending += 1;
    let open = true;
    const close = () => {
      if (open) this.pending -= 1;
      open = false;
    };
    const cancel = this.#clock.after(ms, () => {
      close();
      run();
    });
    return () => {
      close();
      cancel();
    };
  }
}

export interface RawPeer {
  readonly port: number;
  /** Connections accepted so far. */
  accepted: number;
  readonly open: Set<Socket>;
}

const cleanups: (() => Promise<void> | void)[] = [];

/** Runs `cleanup` when the test file calls `endAll`. */
export function atEnd(cleanup: () => Promise<void> | void): void {
  cleanups.push(cleanup);
}

/** Ends all peers and whatever else asked for it, last one first. For `afterEach`. */
export async function endAll(): Promise<void> {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
}

/** A peer that does with each connection what the test says; `count` is 1 for the first. Half open, it never closes by itself. */
export function rawPeer(onConnection: (socket: Socket, count: number) => void, allowHalfOpen = false): Promise<RawPeer> {
  const server = createServer({ noDelay: true, allowHalfOpen }, (socket) => {
    peer.accepted += 1;
    peer.open.add(socket);
    socket.on('close', () => peer.open.delete(socket));
    // Peers under test cut connections at will.
    socket.on('error', () => {});
    onConnection(socket, peer.accepted);
  });
  const peer = { port: 0, accepted: 0, open: new Set<Socket>() };
  atEnd(
    () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        for (const socket of peer.open) socket.destroy();
      }),
  );
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      peer.port = address !== null && typeof address === 'object' ? address.port : 0;
      resolve(peer);
    });
  });
}

/** A peer that writes `answer(count)` once it was asked, then ends, stays until the other side closes, or stays even then. */
export function answeringPeer(answer: (count: number) => Buffer, then: 'end' | 'stay' | 'stay half open' = 'end'): Promise<RawPeer> {
  return rawPeer((socket, count) => {
    socket.once('data', () => {
      if (then === 'end') socket.end(answer(count));
      else socket.write(answer(count));
    });
  }, then === 'stay half open');
}

/** A request for all of `chain`, and what it brought so far. Bytes are copied, since the slab may be read over. */
export function requestFor(chain: Chain, port: number, more: Partial<PullRequest> = {}): { request: PullRequest; pulled: PulledBlock[] } {
  const pulled: PulledBlock[] = [];
  const { keys, tokens, blockTokens, bytesPerBlock } = chain;
  const request: PullRequest = {
    host: '127.0.0.1',
    port,
    lease: 'lease-1',
    keys,
    tokens,
    blockTokens,
    bytesPerBlock,
    deadlineMs: 5000,
    clock: systemClock,
    onBlock: (index, block) => {
      if (index !== pulled.length) throw new Error(`block ${index} came after ${pulled.length} blocks`);
      pulled.push({ ...block, tokens: block.tokens.slice(), bytes: block.bytes.slice() });
    },
    ...more,
  };
  return { request, pulled };
}

/** True when exactly the first `count` blocks of the chain came, unharmed. */
export function areFirst(pulled: readonly PulledBlock[], chain: Chain, count: number): boolean {
  return (
    pulled.length === count &&
    pulled.every((block, index) => {
      const wanted = chain.blocks[index];
      return (
        wanted !== undefined &&
        block.key === wanted.key &&
        Buffer.compare(block.bytes, wanted.bytes) === 0 &&
        block.tokens.join() === wanted.tokens.join()
      );
    })
  );
}
