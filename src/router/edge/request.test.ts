import { describe, expect, it } from 'vitest';
import { SluiceError } from '../../shared/index.ts';
import { parseRequest } from './request.ts';

function bytes(body: unknown): Buffer {
  return Buffer.from(JSON.stringify(body));
}

function refusal(run: () => unknown): SluiceError {
  try {
    run();
  } catch (thrown) {
    if (thrown instanceof SluiceError) return thrown;
    throw thrown;
  }
  throw new Error('nothing was thrown');
}

describe('parseRequest', () => {
  it('forwards the very bytes and reads what routing needs', () => {
    const body = Buffer.from(
      '{"model" : "m",\n"prompt":"h\\u00e9llo","stream":true,"stream_options":{"include_usage":true},"max_tokens":7,"seed":1,"x":[1]}',
    );
    const parsed = parseRequest('completion', body, 'm');
    expect(parsed.body).toBe(body);
    expect(parsed).toMatchObject({
      stream: true,
      includeUsage: true,
      maxTokens: 7,
      hasSeed: true,
      prompt: { kind: 'text', text: 'héllo' },
    });
  });

  it.each([
    ['kv_transfer_params', { remote_host: '10.0.0.1' }],
    ['bootstrap_host', '10.0.0.1'],
    ['bootstrap_room', 7],
    ['disaggregated_params', null],
    ['routed_dp_rank', 3],
    ['disagg_prefill_dp_rank', 3],
    ['data_parallel_rank', 3],
    ['rid', 'x'],
  ])('takes out %s and leaves the rest', (name, value) => {
    const parsed = parseRequest('completion', bytes({ model: 'm', [name]: value, prompt: 'a', keep: { [name]: value } }), 'm');
    expect(JSON.parse(parsed.body.toString())).toEqual({ model: 'm', prompt: 'a', keep: { [name]: value } });
  });

  it.each(['kv_transfer_params', 'ec_transfer_params', 'kv_cache_report_mode'])('takes %s out of vLLM’s free parameters', (name) => {
    const parsed = parseRequest('completion', bytes({ model: 'm', prompt: 'a', vllm_xargs: { [name]: 'full', mine: 1 } }), 'm');
    expect(JSON.parse(parsed.body.toString())).toEqual({ model: 'm', prompt: 'a', vllm_xargs: { mine: 1 } });
  });

  it.each(['ec_transfer_params', 'sluice'])('takes out %s, which is for no engine', (name) => {
    const parsed = parseRequest('completion', bytes({ model: 'm', prompt: 'a', [name]: {} }), 'm');
    expect(parsed.body.toString()).toBe('{"model":"m","prompt":"a"}');
  });

  it('takes out routing fields however their names are written', () => {
    const body = Buffer.from('{"model":"m","prompt":"a","kv\\u005ftransfer_params":{"remote_host":"x"},"kv_transfer_params":1}');
    expect(parseRequest('completion', body, 'm').body.toString()).toBe('{"model":"m","prompt":"a"}');
  });

  it.each([
    [['a'], { kind: 'text', text: 'a' }],
    [[1, 2], { kind: 'tokens', tokens: [1, 2] }],
    [[[1, 2]], { kind: 'tokens', tokens: [1, 2] }],
    [['a', 'b'], { kind: 'none' }],
    [[1, 'b'], { kind: 'none' }],
    [[1.5], { kind: 'none' }],
    [[-1], { kind: 'none' }],
    [[2 ** 31], { kind: 'none' }],
    [[], { kind: 'none' }],
    [7, { kind: 'none' }],
    [undefined, { kind: 'none' }],
  ])('reads the prompt %j', (prompt, expected) => {
    expect(parseRequest('completion', bytes({ model: 'm', prompt }), 'm').prompt).toEqual(expected);
  });

  it('reads messages as engines do, or leaves them to the engine', () => {
    const turns = [
      { role: 'developer', content: 'be brief' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'a' },
          { type: 'text', text: 'b' },
        ],
      },
    ];
    expect(parseRequest('chat', bytes({ model: 'm', messages: turns, max_completion_tokens: 5, max_tokens: 9 }), 'm')).toMatchObject({
      maxTokens: 5,
      prompt: {
        kind: 'chat',
        messages: [
          { role: 'system', content: 'be brief' },
          { role: 'user', content: 'ab' },
        ],
      },
    });
    for (const messages of [undefined, 'x', [1], [{ role: 'user' }], [{ role: 'user', content: [{ type: 'image_url' }] }]]) {
      expect(parseRequest('chat', bytes({ model: 'm', messages }), 'm').prompt).toEqual({ kind: 'none' });
    }
  });

  it.each([
    ['bytes that are no UTF-8', Buffer.from([0x7b, 0xff, 0x7d]), 'invalid_json', /not valid UTF-8/],
    ['half an object', Buffer.from('{"model":'), 'invalid_json', /not valid JSON/],
    ['NaN', Buffer.from('{"model":"m","temperature":NaN}'), 'invalid_json', /not valid JSON/],
    ['nothing', Buffer.alloc(0), 'invalid_json', /not valid JSON/],
    ['an array', Buffer.from('[]'), 'invalid_request', /must be a JSON object; got \[\]/],
    ['no model', bytes({ prompt: 'a' }), 'invalid_request', /`model` must be a string; it is missing/],
    ['a model that is a number', bytes({ model: 4 }), 'invalid_request', /`model` must be a string; got 4/],
    ['another model', bytes({ model: 'gpt' }), 'model_not_found', /"gpt" does not exist; served here: "m"/],
  ] as const)('refuses %s', (_what, body, code, message) => {
    const error = refusal(() => parseRequest('completion', body, 'm'));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
  });

  it('survives a body that is nested very deep', () => {
    const deep = Buffer.from(`{"model":"m","prompt":"a","bootstrap_x":1,"deep":${'['.repeat(100_000)}${']'.repeat(100_000)}}`);
    expect(refusal(() => parseRequest('completion', deep, 'm')).code).toBe('invalid_request');
  });
});
