/** What vLLM 0.32.0 refuses, and how. `MODEL` in a text stands for the served model. */
import { expect } from 'vitest';
import { CHAT, COMPLETIONS, type Json } from './vllm-client.ts';

interface Refused {
  readonly what: string;
  readonly path: string;
  readonly body: string;
  readonly headers?: Record<string, string>;
  readonly expected: { readonly status: number; readonly type: string; readonly param: string | null };
}

const refused = (param: string | null) => ({ status: 400, type: 'BadRequestError', param });
const malformed = (param: string | null) => ({ status: 400, type: 'Bad Request', param });

const completion = (what: string, fields: Json, expected: Refused['expected']): Refused => ({
  what: `a completion with ${what}`,
  path: COMPLETIONS,
  body: JSON.stringify({ model: 'MODEL', prompt: 'a', ...fields }),
  expected,
});

const chat = (what: string, fields: Json, expected: Refused['expected']): Refused => ({
  what: `a chat with ${what}`,
  path: CHAT,
  body: JSON.stringify({ model: 'MODEL', messages: [{ role: 'user', content: 'a' }], ...fields }),
  expected,
});

export const ERRORS: readonly Refused[] = [
  {
    what: 'a body that is cut off',
    path: COMPLETIONS,
    body: '{"model":',
    expected: { ...malformed(null), param: expect.stringMatching(/^body/) },
  },
  completion('an unknown model', { model: 'x' }, { status: 404, type: 'NotFoundError', param: 'model' }),
  completion('no prompt', { prompt: null }, refused('prompt')),
  completion('an empty prompt', { prompt: '' }, refused('prompt')),
  completion('no token ids', { prompt: [] }, refused(null)),
  completion('a token id that is none', { prompt: [999_999] }, refused(null)),
  completion('a negative token id', { prompt: [-1] }, malformed('body.prompt.0')),
  completion('a negative temperature', { temperature: -1 }, refused('temperature')),
  completion('a high temperature', { temperature: 5 }, refused('temperature')),
  completion('a temperature in words', { temperature: 'hot' }, malformed('body.temperature')),
  completion('a top_p of 0', { top_p: 0 }, refused('top_p')),
  completion('max_tokens below 0', { max_tokens: -1 }, refused('max_tokens')),
  completion('max_tokens of 0', { max_tokens: 0 }, refused('max_tokens')),
  completion('more max_tokens than the context', { max_tokens: 5000 }, refused('max_tokens')),
  completion('a prompt that is too long', { prompt: Array.from({ length: 4097 }, () => 97) }, refused('input_tokens')),
  completion('a prompt that leaves no room', { prompt: Array.from({ length: 4096 }, () => 97) }, refused('max_tokens')),
  completion('no choices', { n: 0 }, refused(null)),
  completion('two greedy choices', { n: 2, temperature: 0 }, refused(null)),
  completion('more min_tokens than max_tokens', { min_tokens: 5, max_tokens: 2 }, refused(null)),
  completion('an empty salt', { cache_salt: '' }, refused('cache_salt')),
  completion('a salt with a slash', { cache_salt: 'a/b' }, refused('cache_salt')),
  completion('five stop strings', { stop: ['a', 'b', 'c', 'd', 'e'] }, malformed('body.stop')),
  completion('an empty stop string', { stop: [''] }, refused(null)),
  completion('stream_options without a stream', { stream_options: { include_usage: true } }, refused('stream_options')),
  completion('more logprobs than there may be', { logprobs: 100 }, refused('logprobs')),
  completion('negative logprobs', { logprobs: -2 }, refused('logprobs')),
  completion('logprobs in words', { logprobs: 'a' }, refused('logprobs')),
  completion('kv_transfer_params in words', { kv_transfer_params: 'yes' }, malformed('body.kv_transfer_params')),
  completion('a stream in words', { stream: 'perhaps' }, malformed('body.stream')),
  chat('no messages', { messages: undefined }, malformed('body.messages')),
  chat('an empty conversation', { messages: [] }, refused(null)),
  chat('top_logprobs alone', { top_logprobs: 2 }, refused('top_logprobs')),
  chat('max_tokens of 0', { max_tokens: 0 }, refused('max_tokens')),
  {
    ...completion('another type of content', {}, malformed(null)),
    headers: { 'content-type': 'text/plain' },
  },
];
