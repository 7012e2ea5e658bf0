import { describe, expect, it } from 'vitest';
import type { EngineInfo, Tokenizer } from '../port.ts';
import { type CallKind, parseCall } from './call.ts';
import { readDirections } from './headers.ts';

const tokenizer: Tokenizer = {
  vocabularySize: 100,
  encode: (text) => Int32Array.from(text, (letter) => letter.charCodeAt(0) % 100),
  encodeChat: (messages) => Int32Array.from(messages.flatMap(({ role, content }) => [role.length, ...Array.from(content, () => 1)])),
  piece: () => new Uint8Array(0),
};

const info: EngineInfo = {
  instance: 'i',
  incarnation: 'n',
  role: 'mixed',
  engine: 'sim',
  dialect: 'sluice',
  requestUrl: null,
  simulated: true,
  model: 'm',
  contextTokens: 64,
  maxSequences: 4,
  identity: { model: 'm', revision: '', tokenizer: '', rope: '', adapter: '', dtype: '', layout: '', blockTokens: 16 },
  bytesPerBlock: 1,
  tokenizer: { kind: 'bytes4' },
  transfer: { host: '127.0.0.1', port: 1 },
  leaseMs: null,
};

function parse(kind: CallKind, body: Record<string, unknown>, headers: Record<string, string> = {}) {
  const directions = readDirections(headers, { vocabularySize: 100, contextTokens: 64, newId: () => 'new' });
  return parseCall(kind, { model: 'm', ...body }, { info, tokenizer, directions, created: 5, fallbackSeed: 99 });
}

describe('parseCall', () => {
  it("fills in OpenAI's defaults", () => {
    expect(parse('completion', { prompt: 'abc' })).toMatchObject({
      id: 'cmpl-new',
      created: 5,
      stream: false,
      includeUsage: false,
      stops: [],
      sampling: { temperature: 1, topP: 1, seed: 99, maxTokens: 16, ignoreEos: false, logprobs: null },
    });
    expect(parse('chat', { messages: [{ role: 'user', content: 'abc' }] }).sampling.maxTokens).toBe(60);
  });

  it('never defaults to more tokens than the context has room for', () => {
    expect(parse('completion', { prompt: 'x'.repeat(60) }).sampling.maxTokens).toBe(4);
    expect(() => parse('completion', { prompt: 'x'.repeat(64) })).toThrow(/64 tokens, the context window is 64/);
  });

  it('takes every form of one prompt', () => {
    for (const prompt of ['ab', ['ab'], [97, 98], [[97, 98]]]) expect([...parse('completion', { prompt }).prompt]).toEqual([97, 98]);
  });

  it('takes text parts and the newer name of max_tokens in chats', () => {
    const content = [
      { type: 'text', text: 'a' },
      { type: 'text', text: 'b' },
    ];
    const call = parse('chat', { messages: [{ role: 'developer', content }], max_completion_tokens: 7, max_tokens: 9 });
    expect([...call.prompt]).toEqual(['system'.length, 1, 1]);
    expect(call.sampling.maxTokens).toBe(7);
  });

  it('takes null for not set, ignores what it does not know and lets harmless values of unsupported parameters pass', () => {
    const body = {
      prompt: 'a',
      temperature: null,
      stop: null,
      user: 'u',
      best_of: 1,
      echo: false,
      logit_bias: {},
      response_format: { type: 'text' },
    };
    expect(parse('completion', { ...body, presence_penalty: 0, top_k: -1, toString: 1 }).sampling.temperature).toBe(1);
  });

  it('folds any integer seed into 32 bits', () => {
    const seed = (value: number) => parse('completion', { prompt: 'a', seed: value }).sampling.seed;
    expect([seed(7), seed(-1), seed(2 ** 40 + 3)]).toEqual([7, 0xffff_ffff, 3]);
    expect(parse('completion', { prompt: 'a' }, { 'x-sluice-seed': '4' }).sampling.seed).toBe(4);
  });

  it('reads log-probabilities of both shapes', () => {
    expect(parse('completion', { prompt: 'a', logprobs: 0 }).sampling.logprobs).toBe(0);
    const messages = [{ role: 'user', content: 'a' }];
    expect(parse('chat', { messages, logprobs: true }).sampling.logprobs).toBe(0);
    expect(parse('chat', { messages, logprobs: true, top_logprobs: 3 }).sampling.logprobs).toBe(3);
    expect(parse('chat', { messages, logprobs: false, top_logprobs: 0 }).sampling.logprobs).toBeNull();
  });

  it('refuses more resumed tokens than max_tokens', () => {
    expect(() => parse('completion', { prompt: 'a', max_tokens: 2 }, { 'x-sluice-resume': '1,2,3' })).toThrow(/x-sluice-resume/);
  });
});

describe('readDirections', () => {
  const read = (headers: Record<string, string>) => readDirections(headers, { vocabularySize: 100, contextTokens: 64, newId: () => 'new' });

  it('reads all of them', () => {
    const ticket = { instance: 'p', incarnation: 'x', host: 'h', port: 9, lease: 'l', blocks: 2, bytes: 32, leaseMs: 10 };
    expect(
      read({
        'x-request-id': 'abc',
        'x-sluice-leg': 'prefill',
        'x-sluice-ticket': JSON.stringify(ticket),
        'x-sluice-resume': '1,99',
        'x-sluice-tokens': '1',
        'x-sluice-salt': 's',
        'x-sluice-deadline-ms': '250',
        'x-sluice-pull-ms': '50',
      }),
    ).toMatchObject({ requestId: 'abc', prefillLeg: true, ticket, tokenComments: true, salt: 's', deadlineMs: 250, pullMs: 50 });
  });

  it('replaces request ids that could break a log line or header', () => {
    for (const id of ['', 'a b', 'x'.repeat(129), 'é']) expect(read({ 'x-request-id': id }).requestId).toBe('new');
  });

  it.each([
    ['x-sluice-resume', '1,,2'],
    ['x-sluice-resume', '100'],
    ['x-sluice-resume', Array.from({ length: 65 }, () => 1).join(',')],
    ['x-sluice-deadline-ms', '0'],
    ['x-sluice-deadline-ms', ''],
    ['x-sluice-pull-ms', '1e99'],
    ['x-sluice-salt', 'x'.repeat(257)],
    ['x-sluice-ticket', 'null'],
    ['x-sluice-ticket', '{"instance":"p","incarnation":"x","host":"h","port":70000,"lease":"l","blocks":1,"bytes":1,"leaseMs":1}'],
  ])('refuses %s: %s', (name, value) => expect(() => read({ [name]: value })).toThrow(name));
});
