/** Requests that every engine refuses, and how. */
import type { Json } from './face.ts';

export const COMPLETIONS = '/v1/completions';
const CHAT = '/v1/chat/completions';

export const BAD_INPUT: readonly [string, string, Json | string, { status: number; code: string; param: string | null; says: RegExp }][] = [
  ['no JSON', COMPLETIONS, '{"model":', { status: 400, code: 'invalid_json', param: null, says: /not valid JSON/ }],
  ['JSON that is no object', COMPLETIONS, '[1]', { status: 400, code: 'invalid_request', param: null, says: /object; got \[1\]/ }],
  [
    'another model',
    COMPLETIONS,
    { model: 'gpt-9', prompt: 'a' },
    { status: 404, code: 'model_not_found', param: 'model', says: /"gpt-9".*served here/ },
  ],
  [
    'no model',
    COMPLETIONS,
    { model: null, prompt: 'a' },
    { status: 400, code: 'invalid_request', param: 'model', says: /must be a string/ },
  ],
  ['no prompt', COMPLETIONS, {}, { status: 400, code: 'invalid_request', param: 'prompt', says: /it is missing/ }],
  ['an empty prompt', COMPLETIONS, { prompt: [] }, { status: 400, code: 'invalid_request', param: 'prompt', says: /got \[\]/ }],
  ['a batch', COMPLETIONS, { prompt: ['a', 'b'] }, { status: 400, code: 'unsupported_parameter', param: 'prompt', says: /got 2 prompts/ }],
  [
    'a negative token',
    COMPLETIONS,
    { prompt: [1, -1] },
    { status: 400, code: 'invalid_request', param: 'prompt[1]', says: /token id from 0 to \d+; got -1/ },
  ],
  [
    'a huge token',
    COMPLETIONS,
    { prompt: [[2 ** 31]] },
    { status: 400, code: 'invalid_request', param: 'prompt[0][0]', says: /got 2147483648/ },
  ],
  [
    'max_tokens 0',
    COMPLETIONS,
    { prompt: 'a', max_tokens: 0 },
    { status: 400, code: 'invalid_request', param: 'max_tokens', says: /integer from 1.*got 0/ },
  ],
  [
    'max_tokens as text',
    COMPLETIONS,
    { prompt: 'a', max_tokens: '5' },
    { status: 400, code: 'invalid_request', param: 'max_tokens', says: /got "5"/ },
  ],
  [
    'max_tokens 1e999',
    COMPLETIONS,
    '{"model":"MODEL","prompt":"a","max_tokens":1e999}',
    { status: 400, code: 'invalid_request', param: 'max_tokens', says: /got Infinity/ },
  ],
  [
    'a temperature too high',
    COMPLETIONS,
    { prompt: 'a', temperature: 2.1 },
    { status: 400, code: 'invalid_request', param: 'temperature', says: /from 0 to 2; got 2\.1/ },
  ],
  [
    'top_p 0',
    COMPLETIONS,
    { prompt: 'a', top_p: 0 },
    { status: 400, code: 'invalid_request', param: 'top_p', says: /above 0 to 1; got 0/ },
  ],
  ['half a seed', COMPLETIONS, { prompt: 'a', seed: 1.5 }, { status: 400, code: 'invalid_request', param: 'seed', says: /got 1\.5/ }],
  [
    'five stops',
    COMPLETIONS,
    { prompt: 'a', stop: ['1', '2', '3', '4', '5'] },
    { status: 400, code: 'invalid_request', param: 'stop', says: /up to 4/ },
  ],
  [
    'an empty stop',
    COMPLETIONS,
    { prompt: 'a', stop: ['x', ''] },
    { status: 400, code: 'invalid_request', param: 'stop[1]', says: /got ""/ },
  ],
  ['n 2', COMPLETIONS, { prompt: 'a', n: 2 }, { status: 400, code: 'unsupported_parameter', param: 'n', says: /only 1/ }],
  [
    'logprobs 6',
    COMPLETIONS,
    { prompt: 'a', logprobs: 6 },
    { status: 400, code: 'invalid_request', param: 'logprobs', says: /0 to 5; got 6/ },
  ],
  [
    'echo',
    COMPLETIONS,
    { prompt: 'a', echo: true },
    { status: 400, code: 'unsupported_parameter', param: 'echo', says: /does not support true/ },
  ],
  [
    'a logit bias',
    COMPLETIONS,
    { prompt: 'a', logit_bias: { 5: 1 } },
    { status: 400, code: 'unsupported_parameter', param: 'logit_bias', says: /\{"5":1\}/ },
  ],
  [
    'stream as text',
    COMPLETIONS,
    { prompt: 'a', stream: 'yes' },
    { status: 400, code: 'invalid_request', param: 'stream', says: /true or false; got "yes"/ },
  ],
  [
    'stream options alone',
    COMPLETIONS,
    { prompt: 'a', stream_options: {} },
    { status: 400, code: 'invalid_request', param: 'stream_options', says: /unless `stream`/ },
  ],
  ['no messages', CHAT, { messages: [] }, { status: 400, code: 'invalid_request', param: 'messages', says: /non-empty/ }],
  [
    'a role of none',
    CHAT,
    { messages: [{ role: 'king', content: 'x' }] },
    { status: 400, code: 'invalid_request', param: 'messages[0].role', says: /got "king"/ },
  ],
  [
    'an image',
    CHAT,
    { messages: [{ role: 'user', content: [{ type: 'image_url' }] }] },
    { status: 400, code: 'unsupported_parameter', param: 'messages[0].content[0].type', says: /got "image_url"/ },
  ],
  [
    'top_logprobs alone',
    CHAT,
    { messages: [{ role: 'user', content: 'x' }], top_logprobs: 2 },
    { status: 400, code: 'invalid_request', param: 'top_logprobs', says: /unless `logprobs`/ },
  ],
  [
    '21 top_logprobs',
    CHAT,
    { messages: [{ role: 'user', content: 'x' }], logprobs: true, top_logprobs: 21 },
    { status: 400, code: 'invalid_request', param: 'top_logprobs', says: /0 to 20; got 21/ },
  ],
  [
    'tools',
    CHAT,
    { messages: [{ role: 'user', content: 'x' }], tools: [{}] },
    { status: 400, code: 'unsupported_parameter', param: 'tools', says: /support/ },
  ],
];

function ticketWith(change: Json): string {
  return JSON.stringify({
    instance: 'p',
    incarnation: 'i',
    host: '127.0.0.1',
    port: 1,
    lease: 'l',
    blocks: 1,
    bytes: 1,
    leaseMs: 1,
    ...change,
  });
}

export const BAD_HEADERS: readonly [string, string][] = [
  ['x-sluice-leg', 'decode'],
  ['x-sluice-tokens', 'yes'],
  ['x-sluice-seed', '-1'],
  ['x-sluice-deadline-ms', 'soon'],
  ['x-sluice-resume', '1,x'],
  ['x-sluice-ticket', '{"lease":1}'],
  ['x-sluice-ticket', ticketWith({ lease: 'two words' })],
  ['x-sluice-ticket', ticketWith({ lease: 'l'.repeat(129) })],
  ['x-sluice-ticket', ticketWith({ lease: '' })],
  ['x-sluice-ticket', ticketWith({ blocks: 2.5 })],
  ['x-sluice-ticket', ticketWith({ port: 65_536 })],
];
