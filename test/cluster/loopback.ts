/** Parts of the loopback network of Linux, each for one kubelet: pods of two of them on one address would be in each other's way. */
import { randomInt } from 'node:crypto';
import { createServer, type Server } from 'node:net';

export interface LoopbackPart {
  /** `127.n`: 127.n.0.0 to 127.n.255.253 are its owner's. */
  readonly network: string;
  release(): void;
}

const FIRST = 16;
const LAST = 255;
/** Who listens there has the part. */
const HOST = '255.254';
const PORT = 8_000;

/** One that no other process of this machine has taken. Throws when all are. */
export async function takeLoopbackPart(): Promise<LoopbackPart> {
  const count = LAST - FIRST + 1;
  const start = randomInt(count);
  for (let step = 0; step < count; step += 1) {
    const network = `127.${FIRST + ((start + step) % count)}`;
    const server = await listen(`${network}.${HOST}`);
    if (server !== null) return { network, release: () => server.close() };
  }
  throw new Error(`all of 127.${FIRST}.0.0 to 127.${LAST}.0.0 are taken`);
}

/** Null when somebody else listens there. */
function listen(address: string): Promise<Server | null> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error: NodeJS.ErrnoException) => (error.code === 'EADDRINUSE' ? resolve(null) : reject(error)));
    server.listen(PORT, address, () => resolve(server)).unref();
  });
}
