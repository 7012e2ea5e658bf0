/**
 * A network between an operator and its API server that can be cut: nothing arrives any more, and nobody is told. What was under way
 * arrives when it is mended, as TCP sends it again, also when the sender closed the connection meanwhile; only one that reset it is spared.
 */
import { createServer, connect as dial, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** Which way is cut: `upstream`, requests; `both`, answers too. */
export type Cut = 'none' | 'upstream' | 'both';

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
  /** Bytes from the client that are under way. */
  readonly waiting: Buffer[];
  /** How the client ended while it was cut off. */
  ended: 'open' | 'closed' | 'reset';
}

/** Long enough for a reset to come after the bytes before it, which a socket reads first. */
const DRAIN_MS = 100;

export class Relay {
  readonly #target: number;
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  #cut: Cut = 'none';

  private constructor(target: number) {
    this.#target = target;
    this.#server = createServer((client) => this.#join(client));
  }

  /** @param target port on loopback */
  static async open(target: number): Promise<Relay> {
    const relay = new Relay(target);
    await new Promise<void>((resolve) => relay.#server.listen(0, '127.0.0.1', resolve));
    return relay;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the relay does not listen');
    return address.port;
  }

  /** Bytes of requests that are under way. */
  get heldBytes(): number {
    return [...this.#pairs].reduce((sum, { waiting }) => sum + waiting.reduce((bytes, part) => bytes + part.byteLength, 0), 0);
  }

  cut(how: Cut): void {
    this.#cut = how;
    for (const { server } of this.#pairs) if (how === 'both') server.pause();
  }

  async mend(): Promise<void> {
    await delay(DRAIN_MS);
    this.#cut = 'none';
    for (const pair of this.#pairs) {
      if (pair.ended === 'reset') {
        pair.server.resetAndDestroy();
        continue;
      }
      for (const part of pair.waiting.splice(0)) pair.server.write(part);
      if (pair.ended === 'closed') pair.server.end();
      pair.server.resume();
    }
  }

  close(): void {
    this.#server.close();
    for (const { client, server } of this.#pairs) {
      client.destroy();
      server.destroy();
    }
  }

  #join(client: Socket): void {
    const server = dial(this.#target, '127.0.0.1');
    const pair: Pair = { client, server, waiting: [], ended: 'open' };
    this.#pairs.add(pair);
    if (this.#cut === 'both') server.pause();
    client.on('data', (part) => {
      if (this.#cut === 'none') server.write(part);
      else pair.waiting.push(Buffer.from(part));
    });
    server.on('data', (part) => client.write(part));
    const end = (how: 'closed' | 'reset') => {
      if (pair.ended !== 'reset') pair.ended = how;
      if (this.#cut === 'none') server.end();
    };
    client.on('error', (error: NodeJS.ErrnoException) => end(error.code === 'ECONNRESET' ? 'reset' : 'closed'));
    client.on('end', () => end('closed'));
    server.on('error', () => client.destroy());
    server.on('close', () => {
      this.#pairs.delete(pair);
      client.destroy();
    });
  }
}
