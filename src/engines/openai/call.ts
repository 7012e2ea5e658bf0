/** What a client asked for, checked: a body and the protocol's headers as one value. Pure. */

import { SluiceError } from '../../shared/index.ts';
import type { ChatMessage, EngineInfo, Sampling, Tokenizer } from '../port.ts';
import {
  type Body,
  invalid,
  isObject,
  readBoolean,
  readInteger,
  readNumber,
  readObject,
  readStops,
  readTokenIds,
  shown,
  unsupported,
} from './fields.ts';
import type { Directions } from './headers.ts';

export type CallKind = 'completion' | 'chat';

export interface Call {
  readonly kind: CallKind;
  /** `cmpl-…` or `chatcmpl-…`. */
  readonly id: string;
  readonly requestId: string;
  /** Unix seconds. */
  readonly created: number;
  readonly model: string;
  readonly prompt: Int32Array;
  readonly sampling: Sampling;
  readonly stops: readonly string[];
  readonly stream: boolean;
  readonly includeUsage: boolean;
  /** vLLM's extension: the ids of the generated tokens in the answer. */
  readonly returnTokenIds: boolean;
  readonly directions: Directions;
}

export interface CallContext {
  readonly info: EngineInfo;
  readonly tokenizer: Tokenizer;
  readonly directions: Directions;
  /** Unix seconds now, used when the router gave none. */
  readonly created: number;
  /** Used when neither body nor header has a seed. */
  readonly fallbackSeed: number;
}

/** Known parameters that no engine of ours implements, with the values that change nothing and therefore pass. */
const UNSUPPORTED: Readonly<Record<string, (value: unknown) => boolean>> = {
  audio: never,
  best_of: (value) => value === 1,
  echo: (value) => value === false,
  frequency_penalty: (value) => value === 0,
  function_call: (value) => value === 'none',
  functions: isEmpty,
  guided_choice: never,
  guided_grammar: never,
  guided_json: never,
  guided_regex: never,
  include_stop_str_in_output: (value) => value === false,
  kv_transfer_params: never,
  logit_bias: isEmpty,
  min_p: (value) => value === 0,
  min_tokens: (value) => value === 0,
  modalities: (value) => Array.isArray(value) && value.length === 1 && value[0] === 'text',
  prediction: never,
  presence_penalty: (value) => value === 0,
  prompt_logprobs: never,
  reasoning_effort: never,
  repetition_penalty: (value) => value === 1,
  response_format: (value) => isObject(value) && value['type'] === 'text',
  skip_special_tokens: (value) => value === true,
  stop_token_ids: isEmpty,
  structured_outputs: never,
  suffix: (value) => value === '',
  tool_choice: (value) => value === 'none' || value === 'auto',
  tools: isEmpty,
  top_k: (value) => value === 0 || value === -1,
  use_beam_search: (value) => value === false,
  web_search_options: never,
};

function never(): boolean {
  return false;
}

function isEmpty(value: unknown): boolean {
  return Array.isArray(value) ? value.length === 0 : isObject(value) && Object.keys(value).length === 0;
}

function refuseUnsupported(body: Body): void {
  for (const name in body) {
    const passes = UNSUPPORTED[name];
    const value = body[name];
    if (passes === undefined || !Object.hasOwn(UNSUPPORTED, name) || value === null || passes(value)) continue;
    throw unsupported(name, `this engine does not support ${shown(value)}; leave it out`);
  }
}

/** The served model's name, or an error that says what is served. */
export function checkModel(body: Body, info: EngineInfo): void {
  const model = body['model'];
  if (typeof model !== 'string') throw invalid('model', 'a string', model);
  if (model !== info.model) {
    throw new SluiceError('model_not_found', `the model ${shown(model)} does not exist; served here: "${info.model}"`, { param: 'model' });
  }
}

export function readPrompt(body: Body, tokenizer: Tokenizer): Int32Array {
  const prompt = body['prompt'];
  const expectation = 'a string, an array of token ids, or an array with exactly one of them';
  if (typeof prompt === 'string') return tokenizer.encode(prompt);
  if (!Array.isArray(prompt) || prompt.length === 0) throw invalid('prompt', expectation, prompt);
  const first: unknown = prompt[0];
  if (typeof first === 'number') return readTokenIds(prompt, 'prompt', tokenizer.vocabularySize);
  if (prompt.length > 1 && (typeof first === 'string' || Array.isArray(first))) {
    throw unsupported('prompt', `batches are not supported; got ${prompt.length} prompts, send one request for each`);
  }
  if (typeof first === 'string') return tokenizer.encode(first);
  if (Array.isArray(first)) return readTokenIds(first, 'prompt[0]', tokenizer.vocabularySize);
  throw invalid('prompt', expectation, prompt);
}

const ROLES = new Set(['system', 'developer', 'user', 'assistant']);

export function readMessages(body: Body): readonly ChatMessage[] {
  const messages = body['messages'];
  if (!Array.isArray(messages) || messages.length === 0) throw invalid('messages', 'a non-empty array', messages);
  return messages.map((message: unknown, index) => {
    const path = `messages[${index}]`;
    if (!isObject(message)) throw invalid(path, 'an object', message);
    const role = message['role'];
    if (typeof role !== 'string' || !ROLES.has(role)) throw invalid(`${path}.role`, `one of ${[...ROLES].join(', ')}`, role);
    if ((message['tool_calls'] ?? null) !== null) throw unsupported(`${path}.tool_calls`, 'this engine does not support tools');
    return { role: role === 'developer' ? 'system' : role, content: readContent(message['content'], `${path}.content`) };
  });
}

function readContent(content: unknown, path: string): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) throw invalid(path, 'a string or an array of text parts', content);
  return content
    .map((part: unknown, index) => {
      const at = `${path}[${index}]`;
      if (!isObject(part)) throw invalid(at, 'an object', part);
      if (part['type'] !== 'text') throw unsupported(`${at}.type`, `only "text" parts are supported; got ${shown(part['type'] ?? null)}`);
      const text = part['text'];
      if (typeof text !== 'string') throw invalid(`${at}.text`, 'a string', text);
      return text;
    })
    .join('');
}

function readLogprobs(body: Body, kind: CallKind): number | null {
  if (kind === 'completion') return readInteger(body, 'logprobs', { min: 0, max: 5 });
  const top = readInteger(body, 'top_logprobs', { min: 0, max: 20 });
  if (readBoolean(body, 'logprobs')) return top ?? 0;
  if (top !== null && top > 0) throw invalid('top_logprobs', 'absent unless `logprobs` is true', top);
  return null;
}

const DEFAULT_COMPLETION_TOKENS = 16;

/** Tokens to generate at most; never more than the context has room for. */
function readMaxTokens(body: Body, kind: CallKind, promptTokens: number, info: EngineInfo): number {
  const range = { min: 1, max: Number.MAX_SAFE_INTEGER };
  const newer = kind === 'chat' ? readInteger(body, 'max_completion_tokens', range) : null;
  const older = readInteger(body, 'max_tokens', range);
  const asked = newer ?? older;
  const room = info.contextTokens - promptTokens;
  if (room < 1) {
    const message = `the prompt has ${promptTokens} tokens, the context window is ${info.contextTokens} and one token must fit after it`;
    throw new SluiceError('context_length_exceeded', message, { param: kind === 'chat' ? 'messages' : 'prompt' });
  }
  if (asked === null) return kind === 'chat' ? room : Math.min(room, DEFAULT_COMPLETION_TOKENS);
  if (asked > room) {
    const param = newer !== null ? 'max_completion_tokens' : 'max_tokens';
    const message = `the prompt has ${promptTokens} tokens and \`${param}\` asks for ${asked}, ${promptTokens + asked} together; the context window is ${info.contextTokens}`;
    throw new SluiceError('context_length_exceeded', message, { param });
  }
  return asked;
}

function readSampling(body: Body, kind: CallKind, promptTokens: number, context: CallContext): Sampling {
  const temperature = readNumber(body, 'temperature', { min: 0, max: 2 }) ?? 1;
  const topP = readNumber(body, 'top_p', { min: 0, max: 1, above: true }) ?? 1;
  const seed = readInteger(body, 'seed', { min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER });
  return {
    temperature,
    topP,
    // Any integer is allowed by OpenAI; the engine has 32 bits.
    seed: (seed ?? context.directions.seed ?? context.fallbackSeed) >>> 0,
    maxTokens: readMaxTokens(body, kind, promptTokens, context.info),
    ignoreEos: readBoolean(body, 'ignore_eos'),
    logprobs: readLogprobs(body, kind),
  };
}

function readStreaming(body: Body): { stream: boolean; includeUsage: boolean } {
  const stream = readBoolean(body, 'stream');
  const options = readObject(body, 'stream_options');
  if (options === null) return { stream, includeUsage: false };
  if (!stream) throw invalid('stream_options', 'absent unless `stream` is true', options);
  const usage = options['include_usage'] ?? false;
  if (typeof usage !== 'boolean') throw invalid('stream_options.include_usage', 'true or false', usage);
  return { stream, includeUsage: usage };
}

/**
 * Checks one generation request. Unknown fields are ignored, as clients send extras.
 * @throws SluiceError invalid_request, unsupported_parameter, model_not_found, context_length_exceeded
 */
export function parseCall(kind: CallKind, body: Body, context: CallContext): Call {
  checkModel(body, context.info);
  refuseUnsupported(body);
  const n = readInteger(body, 'n', { min: 1, max: 128 });
  if (n !== null && n !== 1) throw unsupported('n', `only 1 is supported; got ${n}`);
  const stops = readStops(body);
  const streaming = readStreaming(body);
  const returnTokenIds = readBoolean(body, 'return_token_ids');
  const { tokenizer, directions } = context;
  const prompt = kind === 'chat' ? tokenizer.encodeChat(readMessages(body)) : readPrompt(body, tokenizer);
  if (prompt.length === 0) throw invalid('prompt', 'at least one token long', body['prompt']);
  const sampling = readSampling(body, kind, prompt.length, context);
  if (directions.resumed.length > sampling.maxTokens) {
    throw invalid('x-sluice-resume', `at most ${sampling.maxTokens} token ids (max_tokens)`, `${directions.resumed.length} ids`);
  }
  return {
    kind,
    id: `${kind === 'chat' ? 'chatcmpl' : 'cmpl'}-${directions.requestId}`,
    requestId: directions.requestId,
    created: directions.created ?? context.created,
    model: context.info.model,
    prompt,
    sampling,
    stops,
    ...streaming,
    returnTokenIds,
    directions,
  };
}
