/**
 * One choice of a request: tokens become text, a stop string ends it. What its last token brings is told together with the reason, in
 * one piece, as vLLM does.
 */
import type { SluiceError } from '../../../shared/index.ts';
import type { ScoredToken } from '../../openai/logprobs.ts';
import { type PieceTable, TokenText } from '../../openai/text.ts';
import type { FinishReason, GenerateSink, PromptReport, Running, TokenLogprobs } from '../../port.ts';
import type { SpeechSampling } from '../speech.ts';
import { END_TOKEN } from '../tokenizer.ts';
import type { ChoiceReason, Piece } from './shapes.ts';

export interface ChoiceEvents {
  /** Its prompt is computed. */
  started(choice: Choice, report: PromptReport): void;
  /** A token came; `piece.reason` is not null on the last one. */
  told(choice: Choice, piece: Piece): void;
  failed(error: SluiceError): void;
}

export interface ChoiceOptions {
  readonly index: number;
  readonly prompt: Int32Array;
  readonly sampling: SpeechSampling;
  readonly stops: readonly string[];
  readonly pieces: PieceTable;
  readonly events: ChoiceEvents;
}

export class Choice implements GenerateSink {
  readonly index: number;
  readonly prompt: Int32Array;
  readonly sampling: SpeechSampling;
  readonly #options: ChoiceOptions;
  #text: TokenText;
  #running: Running | null = null;
  #last: { readonly text: string; readonly ids: number[]; readonly scored: ScoredToken[] } | null = null;
  #told = false;
  #stop: string | null = null;
  tokens = 0;
  over = false;

  constructor(options: ChoiceOptions) {
    this.index = options.index;
    this.prompt = options.prompt;
    this.sampling = options.sampling;
    this.#options = options;
    // A stop string counts from the first token on that may be the last one.
    this.#text = new TokenText(options.pieces, (options.sampling.minTokens ?? 0) > 0 ? [] : options.stops);
  }

  /** @param run starts it at the core */
  run(run: (sink: GenerateSink) => Running): void {
    const running = run(this);
    if (this.over) running.cancel();
    else this.#running = running;
  }

  cancel(): void {
    this.over = true;
    this.#running?.cancel();
  }

  start(report: PromptReport): void {
    if (!this.over) this.#options.events.started(this, report);
  }

  token(token: number, logprobs: TokenLogprobs | null): void {
    if (this.over || this.#stop !== null) return;
    const { maxTokens, minTokens = 0, ignoreEos } = this.sampling;
    this.tokens += 1;
    const offset = this.#text.decodedLength;
    const text = this.#text.push(token);
    this.#stop = this.#text.stoppedBy;
    if (this.tokens === minTokens) this.#text = new TokenText(this.#options.pieces, this.#options.stops);
    this.#last = { text, ids: [token], scored: logprobs === null ? [] : [{ token, logprobs, offset }] };
    const endsByItself = this.tokens === maxTokens || (token === END_TOKEN && !ignoreEos);
    // The core is about to say so; told now, what it keeps for a peer would be given up.
    if (endsByItself) return;
    if (this.#stop === null) this.#tell(null);
    else {
      this.#finish('stop');
      this.#running?.cancel();
    }
  }

  end(reason: FinishReason): void {
    if (this.over) return;
    if (this.#stop !== null) this.#finish('stop');
    else this.#finish(reason === 'stop' || reason === 'length' ? reason : 'abort');
  }

  error(error: SluiceError): void {
    if (this.over) return;
    this.over = true;
    this.#options.events.failed(error);
  }

  #finish(reason: ChoiceReason): void {
    this.over = true;
    this.#tell(reason);
  }

  #tell(reason: ChoiceReason | null): void {
    const last = this.#last ?? { text: '', ids: [], scored: [] };
    this.#last = null;
    const rest = reason === null || this.#stop !== null ? '' : this.#text.flush();
    const promptIds = this.#told ? null : this.prompt;
    this.#told = true;
    this.#options.events.told(this, { index: this.index, ...last, text: last.text + rest, reason, stop: this.#stop, promptIds });
  }
}
