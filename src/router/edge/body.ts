/** Reads a request body into one buffer, bounded. */
import type { IncomingMessage } from 'node:http';
import { SluiceError } from '../../shared/index.ts';

/** A client that goes on sending after a refusal is listened to for this many bodies' bytes, so that it can read the refusal. */
const DISCARD_FACTOR = 4;

/**
 * @param done called exactly once, with the body or an error: body_too_large, client_closed
 */
export function readBody(request: IncomingMessage, maxBytes: number, done: (body: Buffer | null, error: SluiceError | null) => void): void {
  let first: Buffer | null = null;
  let chunks: Buffer[] | null = null;
  let bytes = 0;
  let settled = false;
  const settle = (body: Buffer | null, error: SluiceError | null) => {
    if (settled) return;
    settled = true;
    first = null;
    chunks = null;
    done(body, error);
  };
  const tooLarge = () => settle(null, new SluiceError('body_too_large', `the body is larger than ${maxBytes} bytes`));
  const gone = () => {
    // Every request closes at its end: making an error for that would cost more than the rest of this function.
    if (!settled) settle(null, new SluiceError('client_closed', 'the client went away while it sent the body'));
  };
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (settled) {
      if (bytes > maxBytes * DISCARD_FACTOR) request.destroy();
    } else if (bytes > maxBytes) tooLarge();
    else if (first === null) first = chunk;
    else if (chunks === null) chunks = [first, chunk];
    else chunks.push(chunk);
  });
  request.on('end', () => settle(chunks === null ? (first ?? Buffer.alloc(0)) : Buffer.concat(chunks), null));
  request.on('error', gone);
  request.on('close', gone);
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) tooLarge();
}
