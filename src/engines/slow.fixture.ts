/** A peer that never answers, and time for a store that is slow to be asked. */
import { createServer, type Socket } from 'node:net';
import { type Clock, systemClock } from '../shared/index.ts';
import type { HandOffTicket } from './port.ts';

export interface SilentPeer {
  /** As if it offered so many blocks. */
  ticket(blocks: number): HandOffTicket;
  /** Connections on which something came. */
  asked(): number;
  close(): void;
}

/** It takes connections and says nothing. */
export async function silentPeer(): Promise<SilentPeer> {
  const sockets = new Set<Socket>();
  let asked = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('data', () => (asked += 1));
    socket.resume();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = address !== null && typeof address === 'object' ? address.port : 0;
  return {
    ticket: (blocks) => ({ instance: 's', incarnation: 'i', host: '127.0.0.1', port, lease: 'l', blocks, bytes: 0, leaseMs: 1_000 }),
    asked: () => asked,
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

export interface SlowTime {
  readonly engine: Clock;
  readonly store: Clock;
  /** The next time that the store looks at its clock, so many milliseconds pass for the engine. */
  delay(ms: number): void;
}

export function slowTime(): SlowTime {
  let [passed, waits] = [0, 0];
  const now = () => systemClock.now() + passed;
  const asked = () => {
    passed += waits;
    waits = 0;
    return now();
  };
  return {
    engine: { ...systemClock, now },
    store: { ...systemClock, now: asked },
    delay: (ms) => {
      waits = ms;
    },
  };
}
