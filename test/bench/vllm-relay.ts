/**
 * A stable address in front of an instance that comes back on another port, as a Service of Kubernetes is: for routers that are told
 * addresses once. While the instance is down nothing listens, so that a client is refused at once.
 */
import { once } from 'node:events';
import net from 'node:net';

export class Relay {
  readonly port: number;
  readonly #sockets = new Set<net.Socket>();
  #server: net.Server | null;
  #targetPort: number;

  private constructor(server: net.Server, port: number, targetPort: number) {
    this.#server = server;
    this.port = port;
    this.#targetPort = targetPort;
    server.on('connection', (socket) => this.#pass(socket));
  }

  static async to(targetPort: number): Promise<Relay> {
    const server = net.createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('the relay has no port');
    return new Relay(server, address.port, targetPort);
  }

  /** Cuts what is open and refuses what comes. */
  down(): void {
    this.#server?.close();
    this.#server = null;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** On the same port as before, to another target. */
  async up(targetPort: number): Promise<void> {
    this.down();
    this.#targetPort = targetPort;
    const server = net.createServer((socket) => this.#pass(socket));
    server.listen(this.port, '127.0.0.1');
    await once(server, 'listening');
    this.#server = server;
  }

  #pass(client: net.Socket): void {
    const upstream = net.connect({ host: '127.0.0.1', port: this.#targetPort, noDelay: true });
    client.setNoDelay(true);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      this.#sockets.add(from);
      from.pipe(to);
      from.on('error', () => from.destroy());
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroySoon();
      });
    }
  }
}
