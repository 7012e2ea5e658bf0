/**
 * What the hand-off is measured against: the same count of bytes between two processes over a plain loopback socket, and within one
 * process by memcpy. Each round takes another source and another target, as a prompt's KV is somewhere else in memory each time: copying
 * one buffer again and again would measure the processor's cache. Started twice by `copy.ts`: `serve` sends as many bytes as asked for; `pull PORT` asks, receives into memory
 * laid out before, and times it. No framing, no checksum, no verification, and the connection is already open.
 */
import net from 'node:net';
import { median } from './quantiles.ts';
import { monotonicMs } from './ticker.ts';

const LARGEST_BYTES = 1 << 30;
/** Not counted: opens the connection and lays the memory out. */
const WARM_ROUNDS = 1;
/** One: a hand-off happens once per prompt too, after a while of something else, and not in a loop that keeps everything warm. */
const ROUNDS = 1;
const PAUSE_MS = 200;
/** Buffers taken in turn. */
const REGIONS = 16;
/** Together larger than any cache. */
const REGIONS_BYTES = 256 << 20;

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
      if (bytes > LARGEST_BYTES) return socket.destroy();
      if (sources[0]?.length !== bytes) sources = regions(bytes, 7);
      socket.write(sources[turn++ % sources.length] ?? Buffer.alloc(0));
    });
  });
  server.listen(0, '127.0.0.1', () => {
    const address = server.address();
    if (address !== null && typeof address !== 'string') process.send?.({ type: 'listening', port: address.port });
  });
}

/** Buffers of `bytes` each, written to, so that their pages exist. */
function regions(bytes: number, fill: number): Buffer[] {
  const count = Math.min(REGIONS, Math.max(1, Math.ceil(REGIONS_BYTES / bytes)));
  return Array.from({ length: count }, () => Buffer.alloc(bytes, fill));
}

async function pull(port: number, bytes: number): Promise<CopyTimes> {
  const targets = regions(bytes, 1);
  const sources = regions(bytes, 3);
  let target = targets[0] as Buffer;
  const socketTimes: number[] = [];
  const memcpyTimes: number[] = [];
  let at = 0;
  let whole: () => void = () => undefined;
  let broken: (reason: Error) => void = () => undefined;
  const onread = {
    buffer: () => target.subarray(at),
    callback: (size: number) => {
      at += size;
      // A fresh view each time; an empty one would read as end of stream, so wrap around at the end.
      if (at >= bytes) {
        at = 0;
        whole();
      }
      return true;
    },
  };
  const socket = net.connect({ host: '127.0.0.1', port, noDelay: true, onread });
  socket.on('error', (error) => broken(error));
  socket.on('close', () => broken(new Error('copy server closed the connection')));
  const ask = Buffer.alloc(4);
  ask.writeUInt32LE(bytes);
  for (let round = 0; round < WARM_ROUNDS + ROUNDS; round += 1) {
    if (round === WARM_ROUNDS) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    target = targets[round % targets.length] as Buffer;
    const source = sources[round % sources.length] as Buffer;
    const began = monotonicMs();
    await new Promise<void>((resolve, reject) => {
      whole = resolve;
      broken = reject;
      socket.write(ask);
    });
    const received = monotonicMs();
    source.copy(target);
    const copied = monotonicMs();
    if (round < WARM_ROUNDS) continue;
    socketTimes.push(received - began);
    memcpyTimes.push(copied - received);
  }
  socket.destroy();
  return { type: 'times', socketMs: median(socketTimes), memcpyMs: median(memcpyTimes) };
}

process.on('disconnect', () => process.exit(0));
if (process.argv[2] === 'serve') serve();
else {
  const port = Number(process.argv[3]);
  process.on('message', (message: { readonly bytes: number }) => {
    pull(port, message.bytes).then(
      (times) => process.send?.(times),
      (error: unknown) => process.send?.({ type: 'failed', reason: String(error) }),
    );
  });
  process.send?.({ type: 'listening', port });
}
