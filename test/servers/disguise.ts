/** A real server that is something else by its own words. */
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

export interface Disguise {
  readonly port: number;
  close(): void;
}

/** Stands in front of the server at `port` on loopback; `tell` changes what it says. */
export async function disguise(port: number, tell: (said: string) => string): Promise<Disguise> {
  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1');
    client.pipe(upstream);
    upstream.on('data', (bytes) => client.write(Buffer.from(tell(bytes.toString('latin1')), 'latin1')));
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      one.on('close', () => other.destroy());
      one.on('error', () => other.destroy());
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return { port: address !== null && typeof address === 'object' ? address.port : 0, close: () => server.close() };
}

/** A Redis of another version. Its words keep their length, which stands before them. */
export function redisOf(version: string): (said: string) => string {
  return (said) => said.replace(/redis_version:[\d.]+/, (own) => `redis_version:${version}`.padEnd(own.length));
}

/** A NATS of another version. */
export function natsOf(version: string): (said: string) => string {
  return (said) => said.replace(/"version":"[^"]+"/, `"version":"${version}"`);
}
