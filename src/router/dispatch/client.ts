/** The client's side of a request, as dispatch needs it: an HTTP response, or a probe's ear. */
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
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

/** Up to here a body goes out as text, so that Node writes it together with the head in one piece. */
const TEXT_BYTES = 16_384;
const CR = 13;
const LF = 10;

export class HttpClient implements Client {
  readonly #response: ServerResponse;
  readonly #id: string;
  #drained: () => void = () => undefined;
  /** Set while a chunked stream is written past the response object: one write per event instead of four. */
  #socket: Socket | null = null;

  constructor(response: ServerResponse, id: string) {
    this.#response = response;
    this.#id = id;
  }

  get started(): boolean {
    return this.#response.headersSent;
  }

  begin(): void {
    const response = this.#response;
    response.writeHead(200, ['content-type', 'text/event-stream', 'cache-control', 'no-cache', 'x-request-id', this.#id]);
    response.flushHeaders();
    const { socket } = response;
    // A pipelined request has no socket before its turn, and an old client wants no chunks.
    if (socket === null || !response.chunkedEncoding) return;
    this.#socket = socket;
    socket.on('drain', this.#drained);
    response.on('close', () => {
      this.#socket = null;
      socket.off('drain', this.#drained);
    });
  }

  write(bytes: Buffer): boolean {
    return this.#socket === null ? this.#response.write(bytes) : this.#socket.write(chunkOf(bytes));
  }

  end(): void {
    this.#response.end();
  }

  answer(status: number, contentType: string, body: Buffer, retryAfter: string | null = null): void {
    const headers = ['content-type', contentType, 'content-length', String(body.length), 'x-request-id', this.#id];
    if (retryAfter !== null) headers.push('retry-after', retryAfter);
    this.#response.writeHead(status, headers);
    if (body.length <= TEXT_BYTES) this.#response.end(body.toString('latin1'), 'latin1');
    else this.#response.end(body);
  }

  fail(error: SluiceError): void {
    const response = this.#response;
    if (response.destroyed || response.writableEnded) return;
    const body = Buffer.from(JSON.stringify(errorBody(error)));
    if (!this.started) {
      const retryAfter = error.retryAfterSeconds === null ? null : String(error.retryAfterSeconds);
      return this.answer(error.status, 'application/json', body, retryAfter);
    }
    // No clean end: a client must not take the stream for complete. Nor is one waited for that does not read.
    const event = Buffer.concat([Buffer.from('data: '), body, Buffer.from('\n\n')]);
    const socket = this.#socket;
    if (socket === null) response.write(event, () => response.destroy());
    else if (socket.writableNeedDrain) socket.destroy();
    else socket.write(chunkOf(event), () => socket.destroy());
  }

  onDrain(run: () => void): void {
    this.#drained = run;
    this.#response.on('drain', run);
  }

  onClose(run: () => void): void {
    this.#response.on('close', () => {
      if (!this.#response.writableFinished) run();
    });
  }
}

/** One chunk of HTTP's chunked encoding. */
function chunkOf(bytes: Buffer): Buffer {
  const size = bytes.length.toString(16);
  const chunk = Buffer.allocUnsafe(size.length + bytes.length + 4);
  let at = chunk.write(size, 0, 'latin1');
  chunk[at++] = CR;
  chunk[at++] = LF;
  at += bytes.copy(chunk, at);
  chunk[at++] = CR;
  chunk[at] = LF;
  return chunk;
}
