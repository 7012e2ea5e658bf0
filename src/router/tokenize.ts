/** `/tokenize` is answered by any instance: they share one tokenizer. */
import type { Request, Response } from 'express';
import { errorBody, SluiceError } from '../shared/index.ts';
import { readBody } from './edge/index.ts';
import type { RouterParts } from './parts.ts';
import { fetchBuffered } from './upstream/index.ts';

const TIMEOUT_MS = 10_000;
const MAX_BYTES = 64 << 20;

export function forwardTokenize(parts: RouterParts, request: Request, response: Response): void {
  readBody(request, parts.config.limits.bodyBytes, (body, failure) => {
    if (failure?.code === 'client_closed') return;
    if (failure || body === null) return refuse(response, failure ?? new SluiceError('internal', 'no body'));
    ask(parts, body, response).catch((cause: unknown) =>
      refuse(response, new SluiceError('engine_failed', 'no instance could tokenize', { cause })),
    );
  });
}

async function ask(parts: RouterParts, body: Buffer, response: Response): Promise<void> {
  const { clock } = parts.context;
  const instance = parts.registry.instances.find((one) => one.usable);
  if (!instance) return refuse(response, new SluiceError('unavailable', 'no instance can take the request now', { retryAfterSeconds: 1 }));
  const { pool, host } = instance.requests;
  const head = `POST /tokenize HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`;
  const answer = await fetchBuffered(pool, head, body, { clock, timeoutMs: TIMEOUT_MS, maxBytes: MAX_BYTES });
  response
    .status(answer.status)
    .type(answer.contentType ?? 'application/json')
    .send(answer.body);
}

function refuse(response: Response, error: SluiceError): void {
  response.status(error.status).json(errorBody(error));
}
