/** Bodies and events with the fields of SGLang 0.5.18, in its order. Pure. */
import type { CallKind } from '../../openai/call.ts';
import type { Fault } from '../nixl/faults.ts';
import type { ChoiceReason } from '../nixl/shapes.ts';

export interface Named {
  readonly kind: CallKind;
  readonly rid: string;
  /** Unix seconds. */
  readonly created: number;
  readonly model: string;
}

export interface Counts {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly cachedTokens: number;
}

/** The first event of a chat. */
export function roleEvent(named: Named): string {
  return event({ ...head(named, false), choices: [chatPiece({ role: 'assistant', content: '' }, null)], usage: null });
}

export function pieceEvent(named: Named, text: string, reason: ChoiceReason | null): string {
  const choice = named.kind === 'chat' ? chatPiece({ role: null, content: text }, reason) : textChoice(text, reason);
  return event({ ...head(named, false), choices: [choice], usage: null });
}

export function usageEvent(named: Named, counts: Counts): string {
  return event({ ...head(named, false), choices: [], usage: usageOf(counts) });
}

export function wholeBody(named: Named, said: { readonly text: string; readonly reason: ChoiceReason }, counts: Counts): string {
  const { text, reason } = said;
  const message = { role: 'assistant', content: text, reasoning_content: null, tool_calls: null };
  const chat = { index: 0, message, logprobs: null, finish_reason: reason, matched_stop: null };
  const choice = named.kind === 'chat' ? chat : textChoice(text, reason);
  return JSON.stringify({ ...head(named, true), choices: [choice], usage: usageOf(counts), metadata: { weight_version: 'default' } });
}

/** Without an object around it, unlike others. */
export function faultBody({ message, type, param, status }: Fault): string {
  return JSON.stringify({ object: 'error', message, type, param, code: status });
}

/** The same in a stream, where Python's own writer leaves blanks. */
export function faultEvent({ message, type, param, status }: Fault): string {
  const fields = Object.entries({ object: 'error', message, type, param, code: status });
  return `data: {"error": {${fields.map(([name, value]) => `"${name}": ${JSON.stringify(value)}`).join(', ')}}}\n\n`;
}

function head({ kind, rid, created, model }: Named, whole: boolean): object {
  const object = kind === 'chat' ? (whole ? 'chat.completion' : 'chat.completion.chunk') : 'text_completion';
  return { id: rid, object, created, model };
}

function chatPiece(delta: { readonly role: string | null; readonly content: string }, reason: ChoiceReason | null): object {
  const nothing = { reasoning_content: null, tool_calls: null };
  return { index: 0, delta: { ...delta, ...nothing }, logprobs: null, finish_reason: reason, matched_stop: null };
}

function textChoice(text: string, reason: ChoiceReason | null): object {
  return { index: 0, text, logprobs: null, finish_reason: reason, matched_stop: null };
}

/** The details as with `--enable-cache-report`. */
function usageOf({ promptTokens, completionTokens, cachedTokens }: Counts): object {
  const tokens = { prompt_tokens: promptTokens, total_tokens: promptTokens + completionTokens, completion_tokens: completionTokens };
  return { ...tokens, prompt_tokens_details: { cached_tokens: cachedTokens }, reasoning_tokens: 0 };
}

function event(fields: object): string {
  return `data: ${JSON.stringify(fields)}\n\n`;
}
