/**
 * Keeps connections as the library's agent does, and can break one off for good. A connection that is closed in order still delivers what
 * was written: after a partition the network would bring a write of minutes ago, of a leader that was deposed meanwhile. A reset takes
 * it back, as far as the network has not got it yet.
 */

import { Agent, type RequestOptions } from 'node:https';
import { connect as dial, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';

const CONNECTED_WITHIN_MS = 15_000;

export class ResettingAgent extends Agent {
  readonly #raw = new WeakMap<Duplex, Socket>();

  override createConnection(options: RequestOptions, done?: (error: Error | null, socket: Duplex) => void): undefined {
    const raw = dial({ host: options.host ?? 'localhost', port: Number(options.port ?? 443) });
    const failed = (error: Error) => done?.(error, raw);
    raw.setTimeout(CONNECTED_WITHIN_MS, () => raw.destroy(new Error(`no connection within ${CONNECTED_WITHIN_MS} ms`)));
    raw.once('error', failed);
    raw.once('connect', () => {
      raw.off('error', failed);
      // From here on the secured connection tells of them.
      raw.on('error', () => {});
      raw.setTimeout(0);
      const over = { ...options, socket: raw };
      const secured = super.createConnection(over);
      if (!secured) return failed(new Error('the connection cannot be secured'));
      this.#raw.set(secured, raw);
      done?.(null, secured);
    });
  }

  /** What is under way on it does not arrive any more, if it has not already. */
  reset(socket: Duplex | null): void {
    const raw = socket === null ? undefined : this.#raw.get(socket);
    if (raw && !raw.destroyed) raw.resetAndDestroy();
  }
}
