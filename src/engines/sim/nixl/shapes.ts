/** Bodies and events with the fields of vLLM 0.32.0, in its order. Pure. */
import { chatContent, type ScoredToken, tokenName } from '../../openai/logprobs.ts';
import type { PieceTable } from '../../openai/text.ts';
import type { VllmCall } from './call.ts';

/** What ended a choice; `abort` when the engine gave it up. */
export type ChoiceReason = 'stop' | 'length' | 'abort';

/** What one event tells of a choice, or all of it. */
export interface Piece {
  readonly index: number;
  readonly text: string;
  readonly ids: readonly number[];
  readonly scored: readonly ScoredToken[];
  readonly reason: ChoiceReason | null;
  /** The stop string that ended it. */
  readonly stop: string | null;
  /** Where the prompt's ids are told: with all of a choice, or its first event. */
  readonly promptIds: Int32Array | null;
}

export interface Tally {
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** Prompt tokens that were not computed, as far as is known. */
  readonly cachedTokens: number;
}

const FINGERPRINT = 'vllm-0.32.0-simulated';

export class Shapes {
  readonly #call: VllmCall;
  readonly #pieces: PieceTable;

  constructor(call: VllmCall, pieces: PieceTable) {
    this.#call = call;
    this.#pieces = pieces;
  }

  get #isChat(): boolean {
    return this.#call.kind === 'chat';
  }

  #head(whole: boolean) {
    const { id, created, model } = this.#call;
    const object = this.#isChat ? (whole ? 'chat.completion' : 'chat.completion.chunk') : 'text_completion';
    return { id, object, created, model };
  }

  /** The first event of each choice of a chat. */
  role(index: number, promptTokens: Int32Array): string {
    const choice = { index, delta: { role: 'assistant', content: '' }, logprobs: null, finish_reason: null };
    const usage = this.#call.continuousUsage ? usageOf({ promptTokens: promptTokens.length, completionTokens: 0 }, true) : null;
    return event({
      ...this.#head(false),
      choices: [choice],
      ...(usage ? { usage } : {}),
      prompt_token_ids: this.#call.returnTokenIds ? [...promptTokens] : null,
      prompt_text: null,
    });
  }

  /** @param soFar of this choice, for usage in every event */
  piece(piece: Piece, soFar: Omit<Tally, 'cachedTokens'>): string {
    const { continuousUsage, includeUsage } = this.#call;
    return event({
      ...this.#head(false),
      choices: [this.#isChat ? this.#chatPiece(piece) : this.#textPiece(piece)],
      ...(continuousUsage ? { usage: usageOf(soFar, this.#isChat) } : {}),
      ...(piece.reason !== null && !includeUsage ? { system_fingerprint: FINGERPRINT } : {}),
    });
  }

  usage(tally: Tally): string {
    const details = { cached_tokens: tally.cachedTokens, ...(this.#isChat ? { created_cache_tokens: 0 } : {}) };
    const usage = { ...usageOf(tally, false), prompt_tokens_details: details };
    return event({ ...this.#head(false), choices: [], usage, system_fingerprint: FINGERPRINT });
  }

  whole(pieces: readonly Piece[], tally: Tally, transfer: object | null): string {
    const [first] = pieces;
    const details = { cached_tokens: tally.cachedTokens, created_cache_tokens: this.#isChat ? 0 : null, multimodal_tokens: null };
    const ids = this.#isChat && this.#call.returnTokenIds ? [...(first?.promptIds ?? [])] : null;
    return JSON.stringify({
      ...this.#head(true),
      choices: pieces.map((piece) => (this.#isChat ? this.#chatChoice(piece) : this.#textChoice(piece))),
      service_tier: null,
      system_fingerprint: FINGERPRINT,
      usage: { ...usageOf(tally, false), prompt_tokens_details: details, completion_tokens_details: null },
      ...(this.#isChat ? { prompt_logprobs: null, prompt_token_ids: ids, prompt_text: null } : {}),
      kv_transfer_params: transfer,
      ec_transfer_params: null,
      metrics: null,
    });
  }

  #ids(ids: ArrayLike<number> | null): number[] | null {
    return this.#call.returnTokenIds && ids !== null ? Array.from(ids) : null;
  }

  #textPiece(piece: Piece): object {
    const { index, text, ids, reason, stop, promptIds } = piece;
    return {
      index,
      text,
      logprobs: this.#logprobs(piece),
      finish_reason: reason,
      stop_reason: stop,
      prompt_token_ids: this.#ids(promptIds),
      token_ids: this.#ids(ids),
    };
  }

  #chatPiece(piece: Piece): object {
    const { index, text, ids, reason, stop } = piece;
    return {
      index,
      delta: { content: text },
      logprobs: this.#logprobs(piece),
      finish_reason: reason,
      ...(reason === null ? {} : { stop_reason: stop }),
      token_ids: this.#ids(ids),
    };
  }

  #textChoice(piece: Piece): object {
    const { index, text, ids, reason, stop, promptIds } = piece;
    return {
      index,
      text,
      logprobs: this.#logprobs(piece),
      finish_reason: reason,
      stop_reason: stop,
      token_ids: this.#ids(ids),
      prompt_logprobs: null,
      prompt_token_ids: this.#ids(promptIds),
      routed_experts: null,
    };
  }

  #chatChoice(piece: Piece): object {
    const { index, text, ids, reason, stop } = piece;
    const nothing = { refusal: null, annotations: null, audio: null, function_call: null, reasoning: null };
    return {
      index,
      message: { role: 'assistant', content: text, ...nothing },
      logprobs: this.#logprobs(piece),
      finish_reason: reason,
      stop_reason: stop,
      token_ids: this.#ids(ids),
      routed_experts: null,
    };
  }

  #logprobs({ scored }: Piece): object | null {
    if (this.#call.sampling.logprobs === null) return null;
    return this.#isChat ? { content: chatContent(scored, this.#pieces) } : this.#textLogprobs(scored);
  }

  #textLogprobs(scored: readonly ScoredToken[]): object {
    const name = (token: number) => tokenName(this.#pieces, token);
    return {
      text_offset: scored.map(({ offset }) => offset),
      token_logprobs: scored.map(({ logprobs }) => logprobs.logprob),
      tokens: scored.map(({ token }) => name(token)),
      top_logprobs: scored.map(({ token, logprobs }) => {
        const others = logprobs.top.map((other) => [name(other.token), other.logprob] as const);
        return Object.fromEntries([[name(token), logprobs.logprob], ...others]);
      }),
    };
  }
}

function usageOf({ promptTokens, completionTokens }: Omit<Tally, 'cachedTokens'>, withDetails: boolean) {
  const usage = { prompt_tokens: promptTokens, total_tokens: promptTokens + completionTokens, completion_tokens: completionTokens };
  return withDetails ? { ...usage, completion_tokens_details: null } : usage;
}

function event(fields: object): string {
  return `data: ${JSON.stringify(fields)}\n\n`;
}
