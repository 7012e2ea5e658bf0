/**
 * One request between the core and its output: tokens become text, stop strings end it, the client's leaving and the deadline
 * cancel it. Ends exactly once.
 */
import { type Cancel, type Clock, SluiceError } from '../../shared/index.ts';
import type { FinishReason, GenerateSink, PromptReport, Running, TokenLogprobs } from '../port.ts';
import { type AnswerReason, type TokenDetails, usageOf } from './answer.ts';
import type { Call } from './call.ts';
import type { RequestMetrics } from './metrics.ts';
import type { Output } from './output.ts';
import { type PieceTable, TokenText } from './text.ts';

export interface GenerationOptions {
  readonly call: Call;
  readonly pieces: PieceTable;
  readonly output: Output;
  readonly clock: Clock;
  readonly metrics: RequestMetrics;
  readonly onSlowClient: () => void;
  /** The core stopped because it goes on elsewhere. */
  readonly onMoved?: () => void;
}

export class Generation implements GenerateSink {
  readonly #options: GenerationOptions;
  readonly #text: TokenText;
  readonly #keepsIds: boolean;
  readonly #details: TokenDetails = { ids: [], scored: [] };
  #running: Running | null = null;
  #report: PromptReport | null = null;
  #completionTokens = 0;
  #ended = false;
  #cancelDeadline: Cancel | null = null;

  constructor(options: GenerationOptions) {
    this.#options = options;
    const { call } = options;
    this.#text = new TokenText(options.pieces, call.stops);
    this.#keepsIds = call.directions.tokenComments || call.returnTokenIds;
    if (call.directions.deadlineMs !== null) {
      this.#cancelDeadline = options.clock.after(call.directions.deadlineMs, () => this.#lapse());
    }
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Puts the tokens that another instance made through the same text machine, then `begin` starts the core, unless nothing is left to do. */
  run(begin: (sink: GenerateSink) => Running): void {
    const { call } = this.#options;
    for (const token of call.directions.resumed) {
      this.#text.push(token);
      this.#completionTokens += 1;
      if (this.#text.stopped) break;
    }
    if (this.#text.stopped || this.#completionTokens >= call.sampling.maxTokens) {
      this.start(nothingLeftReport(call));
      this.#finish(this.#text.stopped ? 'stop' : 'length', this.#text.flush());
      return;
    }
    const running = begin(this);
    // A core may answer before it returns; then a stop string found meanwhile still has to end it.
    if (this.#ended) running.cancel();
    else this.#running = running;
  }

  /** The client went away, or nobody needs the answer any more. */
  cancel(): void {
    if (!this.#end('abort')) return;
    this.#running?.cancel();
  }

  start(report: PromptReport): void {
    if (this.#ended) return;
    this.#report = report;
    this.#options.metrics.started(report);
    this.#options.output.start(report);
    if (this.#options.output.begun) this.#stopDeadline();
  }

  token(token: number, logprobs: TokenLogprobs | null): void {
    if (this.#ended) return;
    this.#completionTokens += 1;
    this.#options.metrics.token();
    if (this.#keepsIds) this.#details.ids.push(token);
    const offset = this.#text.decodedLength;
    const text = this.#text.push(token);
    if (logprobs !== null) this.#details.scored.push({ token, logprobs, offset });
    if (this.#text.stopped) {
      this.#finish('stop', text);
      this.#running?.cancel();
      return;
    }
    if (text === '') {
      this.#options.output.flush();
      return;
    }
    const taken = this.#options.output.emit(text, this.#details);
    this.#details.ids.length = 0;
    this.#details.scored.length = 0;
    if (!taken) {
      this.cancel();
      this.#options.onSlowClient();
    }
  }

  end(reason: FinishReason): void {
    if (this.#ended) return;
    if (reason === 'cancelled') {
      this.error(new SluiceError('unavailable', 'the engine gave the request up'));
      return;
    }
    if (reason === 'moved') {
      // Tokens whose text is held back are not told: the next instance makes them again.
      if (!this.#end('abort')) return;
      this.#options.onMoved?.();
      this.#options.output.moved();
      return;
    }
    const rest = this.#text.flush();
    this.#finish(this.#text.stopped ? 'stop' : reason, rest);
  }

  error(error: SluiceError): void {
    if (this.#end('error')) this.#options.output.fail(error);
  }

  #finish(reason: AnswerReason, text: string): void {
    if (!this.#end(reason)) return;
    const usage = usageOf(this.#options.call, this.#completionTokens, this.#report);
    this.#options.output.finish(text, this.#details, { reason, usage });
  }

  #lapse(): void {
    const ms = this.#options.call.directions.deadlineMs;
    this.error(new SluiceError('deadline_exceeded', `no first byte within the deadline of ${ms} ms (x-sluice-deadline-ms)`));
    this.#running?.cancel();
  }

  #stopDeadline(): void {
    this.#cancelDeadline?.();
    this.#cancelDeadline = null;
  }

  #end(outcome: 'stop' | 'length' | 'abort' | 'error'): boolean {
    if (this.#ended) return false;
    this.#ended = true;
    this.#stopDeadline();
    this.#options.metrics.ended(outcome);
    return true;
  }
}

/** Report of a resumed request that had already ended when its instance was lost. */
function nothingLeftReport(call: Call): PromptReport {
  const reused = { hbm: 0, host: 0, peer: 0, store: 0 };
  return { promptTokens: call.prompt.length, reused, computed: 0, queueMs: 0, prefillMs: 0, handOff: null };
}
