/** Whole answers other than generated text: JSON and errors. */
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { errorBody, type SluiceError } from '../../shared/index.ts';

export function sendText(response: ServerResponse, status: number, text: string, headers: OutgoingHttpHeaders): void {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

/** @param body an object, or JSON that is already text. */
export function sendJson(response: ServerResponse, status: number, body: object | string, headers: OutgoingHttpHeaders = {}): void {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  sendText(response, status, text, { 'content-type': 'application/json', ...headers });
}

export function sendError(response: ServerResponse, error: SluiceError, requestId?: string): void {
  sendJson(response, error.status, errorBody(error), {
    ...(requestId === undefined ? {} : { 'x-request-id': requestId }),
    ...(error.retryAfterSeconds === null ? {} : { 'retry-after': String(Math.max(1, Math.ceil(error.retryAfterSeconds))) }),
  });
}
