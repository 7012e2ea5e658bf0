/** One request on its way through a simulated SGLang: alone, as the prefill leg of a hand-off, or as its decode leg. */
import type { ServerResponse } from 'node:http';
import { SluiceError } from '../../../shared/index.ts';
import { sendText } from '../../openai/replies.ts';
import type { Face } from '../../openai/routes.ts';
import type { HandOffTicket, PromptReport } from '../../port.ts';
import { Choice } from '../nixl/choice.ts';
import { type Fault, faultOf } from '../nixl/faults.ts';
import type { ChoiceReason, Piece } from '../nixl/shapes.ts';
import type { SimCore } from '../simcore.ts';
import type { SglangCall } from './call.ts';
import { claim } from './claim.ts';
import { type Counts, faultBody, faultEvent, type Named, pieceEvent, roleEvent, usageEvent, wholeBody } from './shapes.ts';

export interface SglangRequestOptions {
  readonly face: Face;
  readonly core: SimCore;
  readonly call: SglangCall;
  readonly response: ServerResponse;
  /** Called once, when nothing of it is left. */
  readonly onOver: () => void;
}

const NO_TOKENS = new Int32Array(0);
const PULL_DEADLINE_MS = 0x7fff_ffff;
const DONE = 'data: [DONE]\n\n';
const JSON_TYPE = { 'content-type': 'application/json' };

export class SglangRequest {
  readonly #options: SglangRequestOptions;
  readonly #named: Named;
  readonly #choice: Choice;
  readonly #left = new AbortController();
  #text = '';
  #cachedTokens = 0;
  #over = false;

  constructor(options: SglangRequestOptions) {
    const { call, face } = options;
    const { asked, kind, rid, prompt } = call;
    this.#options = options;
    this.#named = { kind, rid, created: asked.created, model: asked.model };
    // A prefill leg computes one token, whatever is asked for.
    const sampling = this.#keepsRoom ? { ...asked.sampling, maxTokens: 1, minTokens: 0, ignoreEos: true } : asked.sampling;
    this.#choice = new Choice({
      index: 0,
      prompt,
      sampling,
      stops: this.#keepsRoom ? [] : asked.stops,
      pieces: face.pieces,
      events: {
        started: (_choice, report) => this.#started(report),
        told: (_choice, piece) => this.#told(piece),
        failed: (error) => this.#failed(error),
      },
    });
  }

  async run(): Promise<void> {
    const { core, call, response } = this.#options;
    response.on('close', () => this.abort());
    const { room } = call;
    if (core.info.role !== 'decode' || room === null) return this.#start(null);
    const ticket = await claim(room, this.#left.signal);
    if (this.#over) return;
    if (typeof ticket === 'string') this.#fail({ status: 500, type: 'InternalServerError', message: ticket, param: null });
    else this.#start(ticket);
  }

  /** Nobody waits for it any more. Its peer, if any, is told nothing. Idempotent. */
  abort(): void {
    if (this.#over) return;
    this.#end();
    const { response, call } = this.#options;
    if (response.destroyed) return;
    if (response.headersSent) response.end(`${pieceEvent(this.#named, '', 'abort')}${DONE}`);
    else if (call.asked.stream) this.#write(`${pieceEvent(this.#named, '', 'abort')}${DONE}`, true);
    else this.#whole('abort');
  }

  /** The room in which this one's prompt is kept for another instance. */
  get #keepsRoom(): string | null {
    const { core, call } = this.#options;
    return core.info.role === 'prefill' ? (call.room?.room ?? null) : null;
  }

  #start(ticket: HandOffTicket | null): void {
    const { core, call } = this.#options;
    const { prompt, sampling } = this.#choice;
    const common = { id: call.rid, prompt, sampling, resumed: NO_TOKENS, salt: call.asked.salt };
    const request = { ...common, ticket, keepAs: this.#keepsRoom, pullDeadlineMs: PULL_DEADLINE_MS };
    this.#choice.run((sink) => core.generate(request, sink));
  }

  #started({ reused }: PromptReport): void {
    this.#cachedTokens = reused.hbm;
  }

  #told({ text, reason }: Piece): void {
    if (this.#over) return;
    this.#text += text;
    const room = this.#keepsRoom;
    if (room !== null && reason !== null) return void this.#handOver(room, text, reason).catch((thrown: unknown) => this.#failed(thrown));
    this.#say(text, reason);
  }

  /** The answer of a prefill leg comes when the decode instance has the blocks. */
  async #handOver(room: string, text: string, reason: ChoiceReason): Promise<void> {
    const by = await this.#options.core.rooms?.offer(room, this.#choice.prompt.length);
    if (this.#over) return;
    if (by === 'peer') return this.#say(text, reason);
    const message = `Prefill transfer failed for request with bootstrap_room=${room}: the decode instance did not take it`;
    this.#fail({ status: 500, type: 'InternalServerError', message, param: null });
  }

  #say(text: string, reason: ChoiceReason | null): void {
    const { asked } = this.#options.call;
    if (reason !== null) this.#end();
    if (!asked.stream) {
      if (reason !== null) this.#whole(reason);
      return;
    }
    const isFirst = !this.#options.response.headersSent;
    const role = isFirst && this.#named.kind === 'chat' ? roleEvent(this.#named) : '';
    const usage = reason !== null && asked.includeUsage ? usageEvent(this.#named, this.#counts()) : '';
    this.#write(`${role}${pieceEvent(this.#named, text, reason)}${usage}${reason === null ? '' : DONE}`, reason !== null);
  }

  #write(events: string, last: boolean): void {
    const { response, face } = this.#options;
    if (!response.headersSent) response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
    if (last) response.end(events);
    else if (!response.write(events) && response.writableLength > face.limits.streamBufferedBytes) response.destroy();
  }

  #whole(reason: ChoiceReason): void {
    sendText(this.#options.response, 200, wholeBody(this.#named, { text: this.#text, reason }, this.#counts()), JSON_TYPE);
  }

  #counts(): Counts {
    return { promptTokens: this.#choice.prompt.length, completionTokens: this.#choice.tokens, cachedTokens: this.#cachedTokens };
  }

  #failed(thrown: unknown): void {
    const error = thrown instanceof SluiceError ? thrown : new SluiceError('internal', 'internal error', { cause: thrown });
    const { call, core } = this.#options;
    if (error.code !== 'internal' || call.room === null) return this.#fail(faultOf(error));
    const whose = core.info.role === 'prefill' ? 'Prefill' : 'Decode';
    const message = `${whose} transfer failed for request with bootstrap_room=${call.room.room}: ${String(error.cause)}`;
    this.#fail({ status: 500, type: 'InternalServerError', message, param: null });
  }

  #fail(fault: Fault): void {
    if (this.#over) return;
    const room = this.#keepsRoom;
    if (room !== null) this.#options.core.rooms?.fail(room, fault.message);
    this.#end();
    const { response } = this.#options;
    if (response.headersSent) response.end(`${faultEvent(fault)}${DONE}`);
    else sendText(response, fault.status, faultBody(fault), JSON_TYPE);
  }

  #end(): void {
    this.#over = true;
    this.#left.abort();
    this.#choice.cancel();
    const room = this.#keepsRoom;
    if (room !== null) this.#options.core.rooms?.leave(room);
    this.#options.onOver();
  }
}
