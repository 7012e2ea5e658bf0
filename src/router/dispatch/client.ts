/** The client's side of a request, as dispatch needs it: an HTTP response, or a probe's ear. */
import type { ServerResponse } from 'node:http';
import { errorBody, type SluiceError } from '../../shared/index.ts';

export interface Client {
  /** True once a byte of the answer has gone out. */
  readonly started: boolean;
  /** Begins a stream of events. */
  begin(): void;
  /** False: hold back until `onDrain` calls. */
  write(bytes: Buffer): boolean;
  end(): void;
  /** A whole answer. */
  answer(status: number, contentType: string, body: Buffer, retryAfter?: string | null): void;
  /** An error: a whole answer before the first byte, one event and the end of the connection after it. */
  fail(error: SluiceError): void;
  onDrain(run: () => void): void;
  /** The client went away before its answer was complete. */
  onClose(run: () => void): void;
}

export class HttpClient implements Client {
  readonly #response: ServerResponse;
  readonly #id: string;

  constructor(response: ServerResponse, id: string) {
    this.#response = response;
    this.#id = id;
  }

  get started(): boolean {
    return this.#response.headersSent;
  }

  begin(): void {
    this.#response.writeHead(200, ['content-type', 'text/event-stream', 'cache-control', 'no-cache', 'x-request-id', this.#id]);
  }

  write(bytes: Buffer): boolean {
    return this.#response.write(bytes);
  }

  end(): void {
    this.#response.end();
  }

  answer(status: number, contentType: string, body: Buffer, retryAfter: string | null = null): void {
    const headers = ['content-type', contentType, 'content-length', String(body.length), 'x-request-id', this.#id];
    if (retryAfter !== null) headers.push('retry-after', retryAfter);
    this.#response.writeHead(status, headers);
    this.#response.end(body);
  }

  fail(error: SluiceError): void {
    if (this.#response.destroyed || this.#response.writableEnded) return;
    const body = Buffer.from(JSON.stringify(errorBody(error)));
    if (!this.started) {
      const retryAfter = error.retryAfterSeconds === null ? null : String(error.retryAfterSeconds);
      return this.answer(error.status, 'application/json', body, retryAfter);
    }
    // No clean end: a client must not take the stream for complete.
    this.#response.write(Buffer.concat([Buffer.from('data: '), body, Buffer.from('\n\n')]), () => this.#response.destroy());
  }

  onDrain(run: () => void): void {
    this.#response.on('drain', run);
  }

  onClose(run: () => void): void {
    this.#response.on('close', () => {
      if (!this.#response.writableFinished) run();
    });
  }
}
