/** Small HTTP calls to an engine on kept connections: always an answer within the deadline, never an exception. */
import type { IncomingMessage } from 'node:http';
import { Agent, request } from '../../shared/index.ts';

export type Reply =
  | { readonly ok: true; readonly status: number; readonly text: string }
  /** `refused`: nobody listens there (yet, or any more). */
  | { readonly ok: false; readonly why: string; readonly refused: boolean };

/** A metrics page of a model with many adapters has some hundred kB. */
const MAX_REPLY_BYTES = 32 * 2 ** 20;

export class EngineClient {
  readonly #url: string;
  readonly #connections = new Agent({ keepAlive: true, maxSockets: 4, maxFreeSockets: 4 });

  constructor(url: string) {
    this.#url = url;
  }

  /** @param timeoutMs until the whole answer is there */
  get(path: string, timeoutMs: number): Promise<Reply> {
    return this.#call('GET', path, null, timeoutMs);
  }

  post(path: string, body: object, timeoutMs: number): Promise<Reply> {
    return this.#call('POST', path, JSON.stringify(body), timeoutMs);
  }

  close(): void {
    this.#connections.destroy();
  }

  async #call(method: 'GET' | 'POST', path: string, body: string | null, timeoutMs: number): Promise<Reply> {
    const signal = AbortSignal.timeout(timeoutMs);
    const again = await this.#once({ method, path, body, signal });
    // A kept connection that the engine closed in the same moment says nothing about it.
    const stale = !again.ok && again.reused && !signal.aborted;
    return stale ? this.#once({ method, path, body, signal }) : again;
  }

  #once({ method, path, body, signal }: { method: string; path: string; body: string | null; signal: AbortSignal }) {
    return new Promise<Reply & { readonly reused?: boolean }>((resolve) => {
      const fail = (error: NodeJS.ErrnoException) => {
        const why = signal.aborted ? 'it did not answer in time' : (error.code ?? error.message);
        resolve({ ok: false, why, refused: error.code === 'ECONNREFUSED', reused: outgoing.reusedSocket });
      };
      const outgoing = request(`${this.#url}${path}`, {
        method,
        agent: this.#connections,
        signal,
        headers: body === null ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
      });
      outgoing.on('error', fail);
      outgoing.on('response', (response) => {
        readText(response).then((text) => resolve({ ok: true, status: response.statusCode ?? 0, text }), fail);
      });
      outgoing.end(body ?? undefined);
    });
  }
}

async function readText(response: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of response) {
    if (!Buffer.isBuffer(piece)) continue;
    bytes += piece.length;
    if (bytes > MAX_REPLY_BYTES) throw new Error(`an answer has more than ${MAX_REPLY_BYTES} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString('utf8');
}
