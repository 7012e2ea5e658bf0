/** A server of node:http that is opened once and closed once. */
import type { Server } from 'node:http';
import { SluiceError } from '../../shared/index.ts';

export interface Listening {
  readonly url: string;
  readonly port: number;
}

/** @throws the listen error of node:net, for example EADDRINUSE */
export function listen(server: Server, host: string, port: number): Promise<Listening> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.removeListener('error', reject);
      const address = server.address();
      if (address === null || typeof address === 'string') reject(new SluiceError('internal', 'the server has no TCP address'));
      else resolve({ url: urlOf(address.address, address.port), port: address.port });
    });
  });
}

/** Stops listening and drops what is open. Idempotent. */
export async function close(server: Server): Promise<void> {
  if (!server.listening) return;
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

export function urlOf(host: string, port: number): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}
