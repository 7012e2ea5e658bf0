/** Reads request bodies, bounded. */
import type { IncomingMessage } from 'node:http';
import { SluiceError } from '../../shared/index.ts';
import { type Body, isObject, shown } from './fields.ts';

/** A client that goes on sending after it was refused is listened to for this many bytes, so that it can read the refusal. */
const DISCARD_FACTOR = 8;

export interface BodyLimits {
  /** Bytes of one body. */
  readonly bodyBytes: number;
  /** Bytes of all bodies that are being received at one time. */
  readonly allBodyBytes: number;
}

export class BodyReader {
  readonly #limits: BodyLimits;
  #receiving = 0;

  constructor(limits: BodyLimits) {
    this.#limits = limits;
  }

  /** Bytes of bodies that are not yet complete. */
  get receiving(): number {
    return this.#receiving;
  }

  /** @throws SluiceError body_too_large, unavailable (too much is being received already), client_closed */
  read(request: IncomingMessage): Promise<Buffer> {
    const { bodyBytes, allBodyBytes } = this.#limits;
    return new Promise((resolve, reject) => {
      let chunks: Buffer[] = [];
      let size = 0;
      let kept = 0;
      let settled = false;
      const settle = (finish: () => void) => {
        if (settled) return;
        settled = true;
        this.#receiving -= kept;
        finish();
        chunks = [];
      };
      const refuse = (error: () => SluiceError) => settle(() => reject(error()));
      const tooLarge = () => new SluiceError('body_too_large', `the body is larger than ${bodyBytes} bytes`);
      const gone = () => refuse(() => new SluiceError('client_closed', 'the client went away while it sent the body'));
      request.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > bodyBytes * DISCARD_FACTOR) request.destroy();
        if (settled) return;
        if (size > bodyBytes) refuse(tooLarge);
        else if (this.#receiving + chunk.length > allBodyBytes) refuse(crowded);
        else {
          kept += chunk.length;
          this.#receiving += chunk.length;
          chunks.push(chunk);
        }
      });
      request.on('end', () => settle(() => resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks))));
      request.on('error', gone);
      request.on('close', gone);
      if (Number(request.headers['content-length'] ?? 0) > bodyBytes) refuse(tooLarge);
    });
  }
}

function crowded(): SluiceError {
  return new SluiceError('unavailable', 'too many large bodies are being received at one time', { retryAfterSeconds: 1 });
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true });

/** @throws SluiceError invalid_json, invalid_request */
export function parseBody(bytes: Buffer): Body {
  let text: string;
  try {
    text = strictUtf8.decode(bytes);
  } catch (cause) {
    throw new SluiceError('invalid_json', 'the body is not valid UTF-8', { cause });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'it cannot be parsed';
    throw new SluiceError('invalid_json', `the body is not valid JSON: ${shown(reason)}`, { cause });
  }
  if (!isObject(value)) throw new SluiceError('invalid_request', `the body must be a JSON object; got ${shown(value)}`);
  return value;
}
