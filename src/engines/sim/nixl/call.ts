/** What a client asks of a vLLM, checked. Unknown fields and all `x-sluice-*` headers mean nothing. Pure. */
import { type CallKind, checkModel, readMessages } from '../../openai/call.ts';
import type { Body } from '../../openai/fields.ts';
import type { EngineInfo, Tokenizer } from '../../port.ts';
import type { SpeechSampling } from '../speech.ts';
import { booleanIn, integerIn, malformed, numberIn, objectIn, refused, stopsIn } from './fields.ts';
import { readTransfer, type Transfer } from './params.ts';

export interface VllmCall {
  readonly kind: CallKind;
  /** `cmpl-…` or `chatcmpl-…`. */
  readonly id: string;
  /** Unix seconds. */
  readonly created: number;
  readonly model: string;
  /** One, but for a batch of completions. */
  readonly prompts: readonly Int32Array[];
  /** Of the first choice of the first prompt; the n-th of a prompt has a seed that is higher by n. */
  readonly sampling: SpeechSampling;
  /** Choices for each prompt. */
  readonly choices: number;
  readonly stops: readonly string[];
  readonly stream: boolean;
  readonly includeUsage: boolean;
  /** Usage in every event. */
  readonly continuousUsage: boolean;
  readonly returnTokenIds: boolean;
  readonly salt: string;
  readonly transfer: Transfer;
}

export interface VllmCallContext {
  readonly info: EngineInfo;
  readonly tokenizer: Tokenizer;
  readonly requestId: string;
  readonly created: number;
  /** Used when the body has no seed. */
  readonly fallbackSeed: number;
}

const DEFAULT_COMPLETION_TOKENS = 16;
const MAX_CHOICES = 16_384;
const MAX_SALT = 128;
const MAX_PROMPTS = 1024;
const MAX_LOGPROBS = 20;
const GREEDY_BELOW = 1e-5;

/** @throws Refusal; SluiceError model_not_found, invalid_request (messages) */
export function parseVllmCall(kind: CallKind, body: Body, context: VllmCallContext): VllmCall {
  const { info, requestId, created } = context;
  const salt = readSalt(body);
  const stream = booleanIn(body, 'stream');
  const usage = readUsageOptions(body, stream);
  const params = objectIn(body, 'kv_transfer_params');
  if ((body['model'] ?? null) !== null) checkModel(body, info);
  const prompts = readPrompts(kind, body, context.tokenizer);
  const sampling = readSampling(kind, body, prompts, context);
  return {
    kind,
    id: `${kind === 'chat' ? 'chatcmpl' : 'cmpl'}-${requestId}`,
    created,
    model: info.model,
    prompts,
    sampling,
    choices: readChoices(body, sampling),
    stops: stopsIn(body),
    stream,
    ...usage,
    returnTokenIds: booleanIn(body, 'return_token_ids'),
    salt,
    transfer: readTransfer(params, info),
  };
}

function readUsageOptions(body: Body, stream: boolean): Pick<VllmCall, 'includeUsage' | 'continuousUsage'> {
  const options = objectIn(body, 'stream_options');
  if (options === null) return { includeUsage: false, continuousUsage: false };
  if (!stream) throw refused('Stream options can only be defined when `stream=True`.', 'stream_options');
  const includeUsage = booleanIn(options, 'include_usage');
  return { includeUsage, continuousUsage: includeUsage && booleanIn(options, 'continuous_usage_stats') };
}

function readPrompts(kind: CallKind, body: Body, tokenizer: Tokenizer): Int32Array[] {
  if (kind === 'chat') {
    if (!Array.isArray(body['messages'])) throw malformed('body.messages', 'a valid list', body['messages']);
    if (body['messages'].length === 0)
      throw refused('Cannot apply chat template to an empty conversation. Provide at least one message.', null);
    return [tokenizer.encodeChat(readMessages(body))];
  }
  const prompt = body['prompt'] ?? '';
  if (prompt === '') throw refused('Either prompt or prompt_embeds must be provided and non-empty.', 'prompt');
  if (typeof prompt === 'string') return [tokenizer.encode(prompt)];
  if (!Array.isArray(prompt)) throw malformed('body.prompt', 'a valid string or list', prompt);
  if (prompt.length === 0) throw refused('You must pass at least one prompt', null);
  if (typeof prompt[0] === 'number') return [readIds(prompt, tokenizer)];
  if (prompt.length > MAX_PROMPTS) throw refused(`prompt list length ${prompt.length} exceeds ${MAX_PROMPTS}.`, 'prompt');
  return prompt.map((one: unknown, index) => {
    if (typeof one === 'string' && one !== '') return tokenizer.encode(one);
    if (!Array.isArray(one) || one.length === 0) throw malformed(`body.prompt.${index}`, 'a valid string or list', one);
    return readIds(one, tokenizer);
  });
}

function readIds(ids: readonly unknown[], tokenizer: Tokenizer): Int32Array {
  return Int32Array.from(ids, (id, index) => {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0) throw malformed(`body.prompt.${index}`, 'an integer of 0 or more', id);
    if (id >= tokenizer.vocabularySize) throw refused(`Token id ${id} is out of vocabulary`, null);
    return id;
  });
}

function readSampling(kind: CallKind, body: Body, prompts: readonly Int32Array[], context: VllmCallContext): SpeechSampling {
  const temperature = numberIn(body, 'temperature') ?? 1;
  if (!(temperature >= 0 && temperature <= 2)) throw refused(`temperature must be in [0, 2], got ${temperature}.`, 'temperature');
  const topP = numberIn(body, 'top_p') ?? 1;
  if (!(topP > 0 && topP <= 1)) throw refused(`top_p must be in (0, 1], got ${topP}.`, 'top_p');
  const seed = integerIn(body, 'seed');
  if (seed !== null && Math.abs(seed) > 2 ** 63) throw malformed('body.seed', 'an integer of 64 bits', seed);
  const maxTokens = readMaxTokens(kind, body, Math.max(...prompts.map(({ length }) => length)), context.info);
  const minTokens = integerIn(body, 'min_tokens') ?? 0;
  if (minTokens < 0 || minTokens > maxTokens) {
    throw refused(`min_tokens must be less than or equal to max_tokens=${maxTokens}, got ${minTokens}.`, null);
  }
  return {
    temperature: temperature < GREEDY_BELOW ? 0 : temperature,
    topP,
    seed: (seed ?? context.fallbackSeed) >>> 0,
    maxTokens,
    minTokens,
    ignoreEos: booleanIn(body, 'ignore_eos'),
    logprobs: readLogprobs(kind, body),
  };
}

/** What is asked for beyond the context is cut off without a word, unless it is more than the whole context. */
function readMaxTokens(kind: CallKind, body: Body, promptTokens: number, { contextTokens }: EngineInfo): number {
  const asked = (kind === 'chat' ? integerIn(body, 'max_completion_tokens') : null) ?? integerIn(body, 'max_tokens');
  if (asked !== null && asked > contextTokens) {
    throw refused(
      `max_tokens=${asked} cannot be greater than max_model_len=${contextTokens}. Please request fewer output tokens.`,
      'max_tokens',
    );
  }
  if (promptTokens > contextTokens) {
    const message =
      `This model's maximum context length is ${contextTokens} tokens. However, your prompt contains ${promptTokens} input tokens, ` +
      'which exceeds this limit even without any output tokens. Please reduce the length of the input prompt.';
    throw refused(message, 'input_tokens');
  }
  const room = contextTokens - promptTokens;
  const tokens = Math.min(room, asked ?? (kind === 'chat' ? room : DEFAULT_COMPLETION_TOKENS));
  if (tokens < 1) throw refused(`max_tokens must be at least 1, got ${tokens}.`, 'max_tokens');
  return tokens;
}

function readChoices(body: Body, { temperature }: SpeechSampling): number {
  const n = integerIn(body, 'n') ?? 1;
  if (n < 1) throw refused(`n must be at least 1, got ${n}.`, null);
  if (n > MAX_CHOICES) throw refused(`n must be at most ${MAX_CHOICES}, got ${n}.`, null);
  if (n > 1 && temperature === 0) throw refused(`n must be 1 when using greedy sampling, got ${n}.`, null);
  return n;
}

function readLogprobs(kind: CallKind, body: Body): number | null {
  if (kind === 'completion') {
    const asked = body['logprobs'] ?? null;
    if (asked !== null && typeof asked !== 'number') throw refused('`logprobs` must be an integer.', 'logprobs');
    return limited(integerIn(body, 'logprobs'), 'logprobs');
  }
  const top = limited(integerIn(body, 'top_logprobs'), 'top_logprobs') ?? 0;
  if (booleanIn(body, 'logprobs')) return top;
  if (top > 0) throw refused('when using `top_logprobs`, `logprobs` must be set to true.', 'top_logprobs');
  return null;
}

function limited(count: number | null, name: string): number | null {
  if (count === null || (count >= 0 && count <= MAX_LOGPROBS)) return count;
  throw refused(`\`${name}\` must be from 0 to ${MAX_LOGPROBS}, got ${count}.`, name);
}

function readSalt(body: Body): string {
  const salt = body['cache_salt'] ?? null;
  if (salt === null) return '';
  if (typeof salt === 'string' && salt !== '' && salt.length <= MAX_SALT && !/[@/\\\0]/.test(salt)) return salt;
  throw refused(`Parameter 'cache_salt' must be a string of 1 to ${MAX_SALT} characters without '@', '/', '\\', or NUL.`, 'cache_salt');
}

/** The id of a request: the header's, the body's, or a new one. */
export function requestIdOf(header: string | string[] | undefined, body: Body, newId: () => string): string {
  if (typeof header === 'string' && header !== '') return header;
  const id = body['request_id'];
  return typeof id === 'string' && id !== '' ? id : newId();
}
