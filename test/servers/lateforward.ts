import { once } from 'node:events';
import { connect, createServer, type Server } from 'node:net';

interface LateForward {
  readonly server: Server;
  readonly port: number;
  /** The client has begun. */
  readonly begun: Promise<unknown>;
  /** It has heard everything. */
  readonly over: Promise<unknown>;
}

/** Hands on what the client says when that has ended, and then all that is answered in one piece. */
export async function forwardLate(port: number): Promise<LateForward> {
  const [begun, over] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const said: Buffer[] = [];
    client.on('data', (bytes) => {
      said.push(bytes);
      begun.resolve();
    });
    client.on('error', () => undefined);
    client.on('close', () => over.resolve());
    client.on('end', () => {
      const answers: Buffer[] = [];
      const upstream = connect({ port, host: '127.0.0.1', allowHalfOpen: true }, () => upstream.end(Buffer.concat(said)));
      upstream.on('data', (bytes) => answers.push(bytes));
      upstream.on('error', () => client.destroy());
      upstream.on('end', () => client.end(Buffer.concat(answers)));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return {
    server,
    port: address !== null && typeof address === 'object' ? address.port : 0,
    begun: begun.promise,
    over: over.promise,
  };
}
