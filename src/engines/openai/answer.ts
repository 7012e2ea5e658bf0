/** Bodies and events of answers, in OpenAI's shapes. Pure; the part that is the same for every token is built once per request. */
import type { PromptReport } from '../port.ts';
import type { Call } from './call.ts';
import { formatLogprobs, type ScoredToken } from './logprobs.ts';
import type { PieceTable } from './text.ts';

export type AnswerReason = 'stop' | 'length';

export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
}

export function cachedTokens(report: PromptReport | null): number {
  if (report === null) return 0;
  const { hbm, host, peer, store } = report.reused;
  return Math.min(report.promptTokens, hbm + host + peer + store);
}

/** Usage of the whole request: resumed tokens are completion tokens. */
export function usageOf(call: Call, completionTokens: number, report: PromptReport | null): Usage {
  return {
    prompt_tokens: call.prompt.length,
    completion_tokens: completionTokens,
    total_tokens: call.prompt.length + completionTokens,
    prompt_tokens_details: { cached_tokens: Math.min(call.prompt.length, call.directions.cachedTokens ?? cachedTokens(report)) },
  };
}

/** What is told besides text: the ids and scores of the tokens since the last event. */
export interface TokenDetails {
  readonly ids: number[];
  readonly scored: ScoredToken[];
}

/** Builds the events of one stream. Every event ends with an empty line, so that one write is one whole event. */
export class EventShapes {
  readonly #call: Call;
  readonly #pieces: PieceTable;
  readonly #head: string;
  readonly #beforeText: string;
  readonly #afterText: string;
  readonly #tail: string;

  constructor(call: Call, pieces: PieceTable) {
    this.#call = call;
    this.#pieces = pieces;
    const object = call.kind === 'chat' ? 'chat.completion.chunk' : 'text_completion';
    this.#head = `data: {"id":${JSON.stringify(call.id)},"object":"${object}","created":${call.created},"model":${JSON.stringify(call.model)}`;
    // With include_usage OpenAI has the field in every event, null but for the last one.
    this.#tail = call.includeUsage ? '],"usage":null}\n\n' : ']}\n\n';
    this.#beforeText = `${this.#head},"choices":[{"index":0,${call.kind === 'chat' ? '"delta":{"content":' : '"text":'}`;
    this.#afterText = `${call.kind === 'chat' ? '}' : ''},"logprobs":null,"finish_reason":null}${this.#tail}`;
  }

  role(): string {
    return `${this.#head},"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}${this.#tail}`;
  }

  text(text: string, details: TokenDetails): string {
    const plain = details.scored.length === 0 && !this.#call.returnTokenIds;
    if (plain) return this.#comment(details.ids) + this.#beforeText + JSON.stringify(text) + this.#afterText;
    return this.#full(text, details, null);
  }

  finish(text: string, details: TokenDetails, reason: AnswerReason): string {
    return this.#full(text, details, reason);
  }

  usage(usage: Usage): string {
    return `${this.#head},"choices":[],"usage":${JSON.stringify(usage)}}\n\n`;
  }

  #comment(ids: readonly number[]): string {
    return this.#call.directions.tokenComments && ids.length > 0 ? `: ${ids.join(',')}\n` : '';
  }

  #full(text: string, details: TokenDetails, reason: AnswerReason | null): string {
    const { kind, returnTokenIds } = this.#call;
    const logprobs = details.scored.length === 0 ? null : formatLogprobs(kind, details.scored, this.#pieces);
    const delta = text === '' && reason !== null ? {} : { content: text };
    const choice = {
      index: 0,
      ...(kind === 'chat' ? { delta } : { text }),
      logprobs,
      finish_reason: reason,
      ...(returnTokenIds ? { token_ids: details.ids } : {}),
    };
    return `${this.#comment(details.ids)}${this.#head},"choices":[${JSON.stringify(choice)}${this.#tail}`;
  }
}

export interface WholeAnswer {
  readonly text: string;
  readonly details: TokenDetails;
  readonly reason: AnswerReason;
  readonly usage: Usage;
}

export function wholeBody(call: Call, answer: WholeAnswer, pieces: PieceTable): string {
  const chat = call.kind === 'chat';
  const logprobs = call.sampling.logprobs === null ? null : formatLogprobs(call.kind, answer.details.scored, pieces);
  const choice = {
    index: 0,
    ...(chat ? { message: { role: 'assistant', content: answer.text, refusal: null } } : { text: answer.text }),
    logprobs,
    finish_reason: answer.reason,
    ...(call.returnTokenIds ? { token_ids: answer.details.ids, prompt_token_ids: [...call.prompt] } : {}),
  };
  return JSON.stringify({
    id: call.id,
    object: chat ? 'chat.completion' : 'text_completion',
    created: call.created,
    model: call.model,
    choices: [choice],
    usage: answer.usage,
  });
}
