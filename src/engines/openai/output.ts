/** Where the text of one request goes: a stream of events, or one body at the end. */
import type { ServerResponse } from 'node:http';
import { errorBody, SluiceError } from '../../shared/index.ts';
import type { PromptReport } from '../port.ts';
import { type AnswerReason, EventShapes, type TokenDetails, type Usage, wholeBody } from './answer.ts';
import type { Call } from './call.ts';
import { sendError, sendJson } from './replies.ts';
import type { PieceTable } from './text.ts';

export interface Output {
  /** True once bytes went out: from then on an error can only be told inside the stream. */
  readonly begun: boolean;
  start(report: PromptReport): void;
  /** A token came whose text is held back: the client still has to learn that its answer began. */
  flush(): void;
  /** False when the client does not read and too much is buffered. */
  emit(text: string, details: TokenDetails): boolean;
  finish(text: string, details: TokenDetails, ending: { reason: AnswerReason; usage: Usage }): void;
  /** It goes on at another instance. */
  moved(): void;
  fail(error: SluiceError): void;
}

export interface OutputTarget {
  readonly response: ServerResponse;
  readonly call: Call;
  readonly pieces: PieceTable;
  /** Bytes that may wait for the client before its request is given up. */
  readonly bufferedBytes: number;
}

/** A header takes printable ASCII; JSON can say the rest with escapes. */
function reportHeader(report: PromptReport): string {
  return JSON.stringify(report).replace(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

export class StreamOutput implements Output {
  readonly #target: OutputTarget;
  readonly #events: EventShapes;
  #flushed = false;

  constructor(target: OutputTarget) {
    this.#target = target;
    this.#events = new EventShapes(target.call, target.pieces);
  }

  get begun(): boolean {
    return this.#target.response.headersSent;
  }

  start(report: PromptReport): void {
    const { response, call } = this.#target;
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      'x-request-id': call.requestId,
      'x-sluice-report': reportHeader(report),
    });
    if (call.kind === 'chat' && call.directions.resumed.length === 0) this.#write(this.#events.role());
  }

  flush(): void {
    if (!this.#flushed) this.#target.response.flushHeaders();
    this.#flushed = true;
  }

  emit(text: string, details: TokenDetails): boolean {
    const { response, bufferedBytes } = this.#target;
    return this.#write(this.#events.text(text, details)) || response.writableLength <= bufferedBytes;
  }

  #write(events: string): boolean {
    this.#flushed = true;
    return this.#target.response.write(events);
  }

  finish(text: string, details: TokenDetails, ending: { reason: AnswerReason; usage: Usage }): void {
    const { response, call } = this.#target;
    const usage = call.includeUsage ? this.#events.usage(ending.usage) : '';
    response.end(`${this.#events.finish(text, details, ending.reason)}${usage}data: [DONE]\n\n`);
  }

  moved(): void {
    this.#target.response.end(': moved\n\n');
  }

  fail(error: SluiceError): void {
    const { response, call } = this.#target;
    if (!this.begun) {
      sendError(response, error, call.requestId);
      return;
    }
    // The missing [DONE] and the missing last chunk tell even a client that ignores the event that this is no whole answer.
    response.write(`data: ${JSON.stringify(errorBody(error))}\n\n`);
    response.socket?.destroySoon();
  }
}

export class WholeOutput implements Output {
  readonly #target: OutputTarget;
  readonly #details: TokenDetails = { ids: [], scored: [] };
  #text = '';
  #report: PromptReport | null = null;
  readonly begun = false;

  constructor(target: OutputTarget) {
    this.#target = target;
  }

  start(report: PromptReport): void {
    this.#report = report;
  }

  flush(): void {
    // Nothing goes out before the end.
  }

  emit(text: string, details: TokenDetails): boolean {
    this.#text += text;
    for (const id of details.ids) this.#details.ids.push(id);
    for (const scored of details.scored) this.#details.scored.push(scored);
    return true;
  }

  finish(text: string, details: TokenDetails, ending: { reason: AnswerReason; usage: Usage }): void {
    this.emit(text, details);
    const { response, call, pieces } = this.#target;
    const body = wholeBody(call, { text: this.#text, details: this.#details, ...ending }, pieces);
    sendJson(response, 200, body, {
      'x-request-id': call.requestId,
      ...(this.#report === null ? {} : { 'x-sluice-report': reportHeader(this.#report) }),
    });
  }

  moved(): void {
    this.fail(new SluiceError('unavailable', 'a whole answer cannot be moved'));
  }

  fail(error: SluiceError): void {
    sendError(this.#target.response, error, this.#target.call.requestId);
  }
}
