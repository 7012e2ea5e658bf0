import { createServer } from 'node:net';
import type { Outcome, RouterSpec } from '../port.ts';

export type Failure = Outcome & { ok: false };

export function failure(message: string, field: string | null = null): Failure {
  return { ok: false, field, message };
}

/**
 * Whether a router could take its port now; null when it can. Asked before the start, because a port that is in use is the user's to
 * solve and deserves the name of the field.
 */
export function whyNotBindable({ host }: RouterSpec, port: number): Promise<Failure | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.on('error', (error: NodeJS.ErrnoException) => resolve(explain(error, host, port)));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(null)));
  });
}

function explain(error: NodeJS.ErrnoException, host: string, port: number): Failure {
  switch (error.code) {
    case 'EADDRINUSE':
      return failure(
        `port ${port} of ${host} is in use by another process: end that process, choose another port, or write 0 for any free one`,
        'spec.router.port',
      );
    case 'EACCES':
      return failure(`port ${port} needs more rights than this user has: choose one above 1023`, 'spec.router.port');
    default:
      return failure(`cannot listen on ${host} (${error.code ?? error.message}): give an address of this machine`, 'spec.router.host');
  }
}
