/** A real NATS server with JetStream. What is in its streams is in memory. */
import { writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { freePort } from '../ports.ts';
import { serverFolder, startServer, type TestServer } from './server.ts';

export interface NatsServer extends TestServer {
  readonly port: number;
  readonly url: string;
}

export interface NatsServerOptions {
  /** Default true. */
  readonly jetStream?: boolean;
  /** Lines for the configuration: users, TLS, limits. */
  readonly conf?: readonly string[];
}

export async function startNats({ jetStream = true, conf = [] }: NatsServerOptions = {}): Promise<NatsServer> {
  const folder = serverFolder();
  const port = await freePort();
  const [file, kept] = [join(folder, 'nats.conf'), join(folder, 'jetstream')];
  const streams = jetStream && !conf.some((line) => line.startsWith('jetstream')) ? [`jetstream { store_dir: "${kept}" }`] : [];
  writeFileSync(file, ['host: "127.0.0.1"', `port: ${port}`, ...streams, ...conf, ''].join('\n'));
  const server = await startServer({ program: 'nats-server', args: ['-c', file], folder, kept, answers: () => greets(port) });
  return Object.assign(server, { port, url: `nats://127.0.0.1:${port}` });
}

/** A server says what it is to whoever connects. */
function greets(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket: Socket = connect(port, '127.0.0.1');
    const end = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(1_000, () => end(false));
    socket.on('error', () => end(false));
    socket.on('data', () => end(true));
  });
}
