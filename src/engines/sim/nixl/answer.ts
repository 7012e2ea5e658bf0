/** Where the choices of one request go: events as they come, or one body when the last one ended. Ends once. */
import type { ServerResponse } from 'node:http';
import { sendText } from '../../openai/replies.ts';
import type { VllmCall } from './call.ts';
import { type Fault, faultBody, faultEvent } from './faults.ts';
import type { Piece, Shapes, Tally } from './shapes.ts';

export interface Answer {
  /** The first choice's prompt is computed. */
  start(): void;
  /** False when the client does not read and too much is buffered. @param promptTokens and @param completionTokens of this choice so far */
  piece(piece: Piece, soFar: Omit<Tally, 'cachedTokens'>): boolean;
  /** @param transfer answer to `kv_transfer_params` */
  finish(tally: Tally, transfer: object | null): void;
  fail(fault: Fault): void;
}

export interface AnswerTarget {
  readonly response: ServerResponse;
  readonly call: VllmCall;
  readonly shapes: Shapes;
  /** Bytes that may wait for the client. */
  readonly bufferedBytes: number;
}

const DONE = 'data: [DONE]\n\n';

export class StreamAnswer implements Answer {
  readonly #target: AnswerTarget;

  /** The head goes out at once, whatever comes. */
  constructor(target: AnswerTarget) {
    this.#target = target;
    target.response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
    target.response.flushHeaders();
  }

  start(): void {
    const { call, shapes, response } = this.#target;
    const [prompt] = call.prompts;
    if (call.kind !== 'chat' || !prompt) return;
    for (let index = 0; index < call.choices; index += 1) response.write(shapes.role(index, prompt));
  }

  piece(piece: Piece, soFar: Omit<Tally, 'cachedTokens'>): boolean {
    const { response, shapes, bufferedBytes } = this.#target;
    // What was given up before its first token is not told.
    if (piece.ids.length === 0 && soFar.completionTokens === 0) return true;
    return response.write(shapes.piece(piece, soFar)) || response.writableLength <= bufferedBytes;
  }

  finish(tally: Tally): void {
    const { response, call, shapes } = this.#target;
    response.end(`${call.includeUsage ? shapes.usage(tally) : ''}${DONE}`);
  }

  fail(fault: Fault): void {
    this.#target.response.end(`${faultEvent(fault)}${DONE}`);
  }
}

export class WholeAnswer implements Answer {
  readonly #target: AnswerTarget;
  readonly #pieces: { -readonly [K in keyof Piece]: Piece[K] }[] = [];

  constructor(target: AnswerTarget) {
    this.#target = target;
  }

  start(): void {
    // Nothing goes out before the end.
  }

  piece(piece: Piece): boolean {
    const all = this.#pieces[piece.index];
    if (all === undefined) {
      this.#pieces[piece.index] = { ...piece };
      return true;
    }
    all.text += piece.text;
    all.ids = [...all.ids, ...piece.ids];
    all.scored = [...all.scored, ...piece.scored];
    all.reason = piece.reason;
    all.stop = piece.stop;
    return true;
  }

  finish(tally: Tally, transfer: object | null): void {
    const { response, shapes } = this.#target;
    sendText(response, 200, shapes.whole(this.#pieces, tally, transfer), JSON_TYPE);
  }

  fail(fault: Fault): void {
    sendText(this.#target.response, fault.status, faultBody(fault), JSON_TYPE);
  }
}

const JSON_TYPE = { 'content-type': 'application/json' };
