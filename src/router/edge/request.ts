/**
 * What the router reads of a request body. Field validation is the engine's; here only what routing needs is looked at, and what
 * names hosts to connect to is taken out. Pure.
 */
import { isUtf8 } from 'node:buffer';
import { SluiceError } from '../../shared/index.ts';
import { type Traits, traitsOf, wantsSeed } from './traits.ts';

export type RequestKind = 'chat' | 'completion';

/** The prompt as far as it is needed to name its blocks; `none` when it is malformed, which the engine will say. */
export type PromptSource =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'tokens'; readonly tokens: readonly number[] }
  | { readonly kind: 'chat'; readonly messages: readonly { readonly role: string; readonly content: string }[] }
  | { readonly kind: 'none' };

export interface ParsedRequest {
  readonly kind: RequestKind;
  /** What engines get: the client's very bytes unless routing fields had to be taken out. */
  readonly body: Buffer;
  readonly stream: boolean;
  readonly includeUsage: boolean;
  /** Null when the client did not say. */
  readonly maxTokens: number | null;
  readonly hasSeed: boolean;
  /** The client asks that a seed is made up where it gave none. */
  readonly wantsSeed: boolean;
  readonly traits: Traits;
  readonly prompt: PromptSource;
}

/** They name hosts to connect to, ranks, or other requests, or, malformed, end an engine; `sluice` is for the router alone. */
const ROUTING_FIELD =
  /^(?:(?:kv|ec)_transfer_params|disaggregated_params|bootstrap_.*|routed_dp_rank|disagg_prefill_dp_rank|data_parallel_rank|rid|sluice)$/;
/** b, d, e, k, r, s. */
const ROUTING_LETTERS: ReadonlySet<number> = new Set([98, 100, 101, 107, 114, 115]);
/** vLLM's free parameters stand beside its own ones and reach the same place. */
const FREE_FIELDS = 'vllm_xargs';
/** One of them has vLLM announce blocks again that were never removed. */
const REPORT_MODE = 'kv_cache_report_mode';
const NONE: PromptSource = { kind: 'none' };

/**
 * @param model the one served here
 * @throws SluiceError invalid_json, invalid_request, model_not_found
 */
export function parseRequest(kind: RequestKind, bytes: Buffer, model: string): ParsedRequest {
  const body = parseObject(bytes);
  checkModel(body['model'], model);
  const stream = body['stream'] === true;
  const seedWish = wantsSeed(body['sluice']);
  const options = body['stream_options'];
  return {
    kind,
    body: withoutRoutingFields(body, bytes),
    stream,
    includeUsage: isObject(options) && options['include_usage'] === true,
    maxTokens: tokensOf((kind === 'chat' ? body['max_completion_tokens'] : undefined) ?? body['max_tokens']),
    hasSeed: typeof body['seed'] === 'number',
    wantsSeed: seedWish,
    traits: traitsOf(kind, body),
    prompt: kind === 'chat' ? chatOf(body['messages']) : promptOf(body['prompt']),
  };
}

function parseObject(bytes: Buffer): Record<string, unknown> {
  if (!isUtf8(bytes)) throw new SluiceError('invalid_json', 'the body is not valid UTF-8');
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.slice(0, 160) : 'it cannot be parsed';
    throw new SluiceError('invalid_json', `the body is not valid JSON: ${reason}`, { cause });
  }
  if (!isObject(value)) throw new SluiceError('invalid_request', `the body must be a JSON object; got ${shown(value)}`);
  return value;
}

function checkModel(given: unknown, model: string): void {
  if (given === model) return;
  if (typeof given === 'string') {
    const message = `the model ${shown(given)} does not exist; served here: ${JSON.stringify(model)}`;
    throw new SluiceError('model_not_found', message, { param: 'model' });
  }
  const got = given === undefined ? 'it is missing' : `got ${shown(given)}`;
  throw new SluiceError('invalid_request', `\`model\` must be a string; ${got}`, { param: 'model' });
}

function withoutRoutingFields(body: Record<string, unknown>, bytes: Buffer): Buffer {
  const free = body[FREE_FIELDS];
  let found = withoutFields(body);
  if (isObject(free)) {
    if (withoutFields(free)) found = true;
    if (REPORT_MODE in free) found = delete free[REPORT_MODE];
  }
  return found ? written(body) : bytes;
}

/** True when there were any. */
function withoutFields(fields: Record<string, unknown>): boolean {
  let found = false;
  for (const name in fields) {
    if (!isRoutingField(name)) continue;
    delete fields[name];
    found = true;
  }
  return found;
}

function written(body: Record<string, unknown>): Buffer {
  try {
    return Buffer.from(JSON.stringify(body));
  } catch (cause) {
    // Parsing does not recurse, writing does.
    throw new SluiceError('invalid_request', 'the body is nested too deep', { cause });
  }
}

/** The first letter decides for nearly every field, so that the pattern seldom runs. */
function isRoutingField(name: string): boolean {
  const first = name.charCodeAt(0);
  return ROUTING_LETTERS.has(first) && ROUTING_FIELD.test(name);
}

function tokensOf(value: unknown): number | null {
  return typeof value === 'number' && value >= 1 ? value : null;
}

function promptOf(prompt: unknown): PromptSource {
  if (typeof prompt === 'string') return { kind: 'text', text: prompt };
  if (!Array.isArray(prompt) || prompt.length === 0) return NONE;
  if (typeof prompt[0] === 'number') return tokenPrompt(prompt);
  if (prompt.length > 1) return NONE;
  return Array.isArray(prompt[0]) ? tokenPrompt(prompt[0]) : promptOf(prompt[0]);
}

function tokenPrompt(tokens: readonly unknown[]): PromptSource {
  return tokens.every(isToken) ? { kind: 'tokens', tokens } : NONE;
}

function isToken(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 0x7fff_ffff;
}

function chatOf(messages: unknown): PromptSource {
  if (!Array.isArray(messages)) return NONE;
  const turns: { role: string; content: string }[] = [];
  for (const message of messages as readonly unknown[]) {
    if (!isObject(message) || typeof message['role'] !== 'string') return NONE;
    const content = textOf(message['content']);
    if (content === null) return NONE;
    const role = message['role'];
    // As the engines read it.
    turns.push({ role: role === 'developer' ? 'system' : role, content });
  }
  return { kind: 'chat', messages: turns };
}

function textOf(content: unknown): string | null {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return null;
  let text = '';
  for (const part of content as readonly unknown[]) {
    if (!isObject(part) || typeof part['text'] !== 'string') return null;
    text += part['text'];
  }
  return text;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? typeof value;
  return text.length > 60 ? `${text.slice(0, 60)}… (${text.length} characters)` : text;
}
