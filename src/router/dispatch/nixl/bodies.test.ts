import { describe, expect, it } from 'vitest';
import { parseRequest, type RequestKind } from '../../edge/index.ts';
import { decodeBody, prefillBody } from './bodies.ts';

const PARAMS = { do_remote_prefill: true, remote_block_ids: [[1, 2]] };

function request(kind: RequestKind, fields: object) {
  return parseRequest(kind, Buffer.from(JSON.stringify({ model: 'm', ...fields })), 'm');
}

function prefilled(kind: RequestKind, fields: object, salt = ''): Record<string, unknown> {
  const { kv_transfer_params: params, ...rest } = JSON.parse(prefillBody(request(kind, fields), salt).toString()) as Record<
    string,
    unknown
  >;
  expect(params).toEqual({
    do_remote_decode: true,
    do_remote_prefill: false,
    remote_engine_id: null,
    remote_block_ids: null,
    remote_host: null,
    remote_port: null,
  });
  return rest;
}

const ALWAYS = { model: 'm', stream: false, max_tokens: 1, ignore_eos: true };

describe('prefillBody', () => {
  it.each<[string, object]>([
    ['stream', { stream: true }],
    ['stream_options', { stream: true, stream_options: { include_usage: true } }],
    ['stream_interval', { stream_interval: 4 }],
    ['max_tokens', { max_tokens: 500 }],
    ['ignore_eos', { ignore_eos: false }],
    ['min_tokens', { min_tokens: 5 }],
    ['stop', { stop: ['a'] }],
    ['stop_token_ids', { stop_token_ids: [1] }],
    ['include_stop_str_in_output', { include_stop_str_in_output: true }],
    ['logprobs', { logprobs: 3 }],
    ['logprob_token_ids', { logprobs: 1, logprob_token_ids: [1] }],
    ['structured_outputs', { structured_outputs: { regex: 'x' } }],
    ['guided_*', { guided_regex: 'x', guided_json: {} }],
    ['return_token_ids', { return_token_ids: true }],
    ['bad_words', { bad_words: ['x'] }],
    ['hand-off fields of the client', { kv_transfer_params: { remote_host: 'x' } }],
  ])('is the same whatever the client says of the tokens to come: %s', (_what, fields) => {
    expect(prefilled('completion', { prompt: 'p', ...fields })).toEqual({ ...ALWAYS, prompt: 'p' });
  });

  it('has one choice, where the client spoke of them', () => {
    expect(prefilled('chat', { messages: [], n: 1 })).toEqual({ ...ALWAYS, messages: [], n: 1 });
  });

  it('limits a chat in both ways, and without top_logprobs', () => {
    const fields = { messages: [], max_completion_tokens: 99, logprobs: true, top_logprobs: 2 };
    expect(prefilled('chat', fields)).toEqual({ ...ALWAYS, messages: [], max_completion_tokens: 1 });
  });

  it('keeps all that may be in the prompt', () => {
    const fields = {
      messages: [{ role: 'user', content: 'é' }],
      tools: [{ type: 'function', function: { name: 'f' } }],
      tool_choice: 'required',
      response_format: { type: 'json_object' },
      chat_template_kwargs: { thinking: true },
      add_generation_prompt: false,
      continue_final_message: true,
      documents: [],
      reasoning_effort: 'low',
      mm_processor_kwargs: {},
      add_special_tokens: false,
    };
    expect(prefilled('chat', fields)).toEqual({ ...ALWAYS, ...fields });
  });

  it('has the joined salt instead of the client’s', () => {
    expect(prefilled('completion', { prompt: 'p', cache_salt: 'mine' }, 'joined')).toEqual({
      ...ALWAYS,
      prompt: 'p',
      cache_salt: 'joined',
    });
  });
});

describe('decodeBody', () => {
  const NOTHING = { salt: '', seed: null, params: null };

  it('is the client’s very bytes when there is nothing to say', () => {
    const asked = request('completion', { prompt: 'p' });
    expect(decodeBody(asked, NOTHING)).toBe(asked.body);
  });

  it('puts what is ours behind the client’s bytes', () => {
    const body = Buffer.from('{ "model":"m", "prompt" : "}é", "x":{"y":[1.0]} } \n');
    const added = { salt: 's', seed: 5, params: PARAMS };
    const sent = decodeBody(parseRequest('completion', body, 'm'), added).toString();
    expect(sent).toBe(
      `{ "model":"m", "prompt" : "}é", "x":{"y":[1.0]} ,"cache_salt":"s","seed":5,"kv_transfer_params":${JSON.stringify(PARAMS)}}`,
    );
    expect(JSON.parse(sent)).toMatchObject({ model: 'm', prompt: '}é', kv_transfer_params: PARAMS });
  });

  it.each<[string, object, unknown]>([
    ['none', { stream: true }, { include_usage: true }],
    ['others', { stream: true, stream_options: { include_usage: false, continuous_usage_stats: true } }, { include_usage: true }],
    ['the same', { stream: true, stream_options: { include_usage: true, continuous_usage_stats: true } }, undefined],
    ['and no stream', {}, undefined],
  ])('asks for usage where the client gave %s, with no name twice', (_what, fields, expected) => {
    const asked = request('completion', { prompt: 'p', ...fields });
    const sent = decodeBody(asked, { ...NOTHING, params: PARAMS }).toString();
    const { stream_options: options } = JSON.parse(sent) as { stream_options: unknown };
    expect(options).toEqual(expected ?? JSON.parse(asked.body.toString()).stream_options);
    expect(sent.split('stream_options').length).toBeLessThanOrEqual(2);
  });

  it('replaces the client’s salt', () => {
    const sent = decodeBody(request('completion', { prompt: 'p', cache_salt: 'mine' }), { ...NOTHING, salt: 'joined' }).toString();
    expect(JSON.parse(sent)).toEqual({ model: 'm', prompt: 'p', cache_salt: 'joined' });
    expect(sent).not.toContain('mine');
  });
});
