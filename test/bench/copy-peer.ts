/**
 * What the hand-off is measured against: the same count of bytes between two processes over a plain loopback socket, and within one
 * process by memcpy. Each round takes another source and another target, as a prompt's KV is somewhere else in memory each time: copying
 * one buffer again and again would measure the processor's cache. Started twice by `copy.ts`: `serve` sends as many bytes as asked for;
 * `pull PORT` asks, receives into memory laid out before, and times it. No framing, no checksum, no verification, and the connection is
 * already open. The sender was idle before, or, where `burnMs` says so, computed on its core until right before it is asked, as the
 * sender of a hand-off has just prefilled.
 */
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { median } from './quantiles.ts';
import { monotonicMs } from './ticker.ts';

const LARGEST_BYTES = 1 << 30;
const LONGEST_BURN_MS = 60_000;
/** Bytes to send, then milliseconds to compute before (u32 each). */
const ASK_BYTES = 8;
/** What an ask with milliseconds is answered with, when they have passed. */
const BURNT = Buffer.from([1]);
/** Not counted: opens the connection and lays the memory out. */
const WARM_ROUNDS = 1;
/** One: a hand-off happens once per prompt too, after a while of something else, and not in a loop that keeps everything warm. */
const ROUNDS = 1;
const PAUSE_MS = 200;
/** Buffers taken in turn. */
const REGIONS = 16;
/** Together larger than any cache. */
const REGIONS_BYTES = 256 << 20;

export interface CopyRequest {
  readonly bytes: number;
  /** Milliseconds that the sender computes right before the counted rounds; 0 = it rests for `PAUSE_MS` instead. */
  readonly burnMs: number;
}

export interface CopyTimes {
  readonly type: 'times';
  readonly socketMs: number;
  readonly memcpyMs: number;
}

function serve(): void {
  let sources: Buffer[] = [];
  let turn = 0;
  const server = net.createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.on('data', (ask) => {
      const bytes = ask.readUInt32LE(0);
      const burnMs = ask.readUInt32LE(4);
      if (ask.length !== ASK_BYTES || bytes > LARGEST_BYTES || burnMs > LONGEST_BURN_MS) return socket.destroy();
      if (burnMs > 0) {
        burn(burnMs);
        return socket.write(BURNT);
      }
      if (sources[0]?.length !== bytes) sources = regions(bytes, 7);
      socket.write(sources[turn++ % sources.length] ?? Buffer.alloc(0));
    });
  });
  server.listen(0, '127.0.0.1', () => {
    const address = server.address();
    if (address !== null && typeof address !== 'string') process.send?.({ type: 'listening', port: address.port });
  });
}

/** Keeps its core busy without touching memory, so that no cache is emptied that the copy could use. */
function burn(ms: number): void {
  const until = monotonicMs() + ms;
  while (monotonicMs() < until);
}

/** Buffers of `bytes` each, written to, so that their pages exist. */
function regions(bytes: number, fill: number): Buffer[] {
  const count = Math.min(REGIONS, Math.max(1, Math.ceil(REGIONS_BYTES / bytes)));
  return Array.from({ length: count }, () => Buffer.alloc(bytes, fill));
}

async function pull(port: number, { bytes, burnMs }: CopyRequest): Promise<CopyTimes> {
  const targets = regions(bytes, 1);
  const sources = regions(bytes, 3);
  const link = new Link(port);
  const socketTimes: number[] = [];
  const memcpyTimes: number[] = [];
  for (let round = 0; round < WARM_ROUNDS + ROUNDS; round += 1) {
    if (round >= WARM_ROUNDS) await (burnMs > 0 ? link.ask({ bytes, burnMs }, Buffer.alloc(BURNT.length)) : sleep(PAUSE_MS));
    const target = targets[round % targets.length] as Buffer;
    const source = sources[round % sources.length] as Buffer;
    const began = monotonicMs();
    await link.ask({ bytes, burnMs: 0 }, target);
    const received = monotonicMs();
    source.copy(target);
    const copied = monotonicMs();
    if (round < WARM_ROUNDS) continue;
    socketTimes.push(received - began);
    memcpyTimes.push(copied - received);
  }
  link.close();
  return { type: 'times', socketMs: median(socketTimes), memcpyMs: median(memcpyTimes) };
}

/** The connection to the server: one ask at a time. */
class Link {
  readonly #socket: net.Socket;
  #target: Buffer = Buffer.alloc(1);
  #at = 0;
  #whole: () => void = () => undefined;
  #broken: (reason: Error) => void = () => undefined;

  constructor(port: number) {
    const onread = { buffer: () => this.#target.subarray(this.#at), callback: (size: number) => this.#took(size) };
    this.#socket = net.connect({ host: '127.0.0.1', port, noDelay: true, onread });
    this.#socket.on('error', (error) => this.#broken(error));
    this.#socket.on('close', () => this.#broken(new Error('copy server closed the connection')));
  }

  /** Resolves when the answer has filled `target`. */
  ask({ bytes, burnMs }: CopyRequest, target: Buffer): Promise<void> {
    this.#target = target;
    const ask = Buffer.alloc(ASK_BYTES);
    ask.writeUInt32LE(bytes);
    ask.writeUInt32LE(Math.ceil(burnMs), 4);
    return new Promise<void>((resolve, reject) => {
      this.#whole = resolve;
      this.#broken = reject;
      this.#socket.write(ask);
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #took(size: number): boolean {
    this.#at += size;
    // A fresh view each time; an empty one would read as end of stream, so wrap around at the end.
    if (this.#at >= this.#target.length) {
      this.#at = 0;
      this.#whole();
    }
    return true;
  }
}

process.on('disconnect', () => process.exit(0));
if (process.argv[2] === 'serve') serve();
else {
  const port = Number(process.argv[3]);
  process.on('message', (request: CopyRequest) => {
    pull(port, request).then(
      (times) => process.send?.(times),
      (error: unknown) => process.send?.({ type: 'failed', reason: String(error) }),
    );
  });
  process.send?.({ type: 'listening', port });
}
