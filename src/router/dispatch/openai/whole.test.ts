import { describe, expect, it } from 'vitest';
import { readRefusal, readWhole } from './whole.ts';

const USAGE = { prompt_tokens: 32, total_tokens: 35, completion_tokens: 3, prompt_tokens_details: { cached_tokens: 31 } };
const CHOICE = { index: 0, text: 'x', finish_reason: 'length' };

function answer(change: object = {}): Buffer {
  return Buffer.from(JSON.stringify({ id: 'cmpl-1', choices: [CHOICE], usage: USAGE, kv_transfer_params: null, ...change }));
}

describe('readWhole', () => {
  it('hands an answer on as it came, and reads what the record keeps', () => {
    const body = answer();
    const read = readWhole(body, null);
    expect(read).toEqual({ body, outputTokens: 3, finishReason: 'length', usage: { promptTokens: 32, cachedTokens: 31 } });
  });

  it('says what the prefill instance had, where there are details at all', () => {
    const cachedIn = (change: object) =>
      JSON.parse(String((readWhole(answer(change), 16) as { body: Buffer }).body)).usage.prompt_tokens_details;
    expect(cachedIn({})).toEqual({ cached_tokens: 16 });
    expect(cachedIn({ usage: { ...USAGE, prompt_tokens_details: null } })).toBeNull();
  });

  it('keeps the addresses of instances to itself', () => {
    const read = readWhole(answer({ kv_transfer_params: { remote_host: '10.1.2.3' } }), null) as { body: Buffer };
    expect(JSON.parse(read.body.toString())).toMatchObject({ id: 'cmpl-1', kv_transfer_params: null });
  });

  it.each<[string, Buffer]>([
    ['no choices', answer({ choices: [] })],
    ['an abort that nobody asked for', answer({ choices: [{ ...CHOICE, finish_reason: 'abort' }] })],
    ['an error', answer({ choices: [CHOICE, { ...CHOICE, finish_reason: 'error' }] })],
    ['no JSON', Buffer.from('oops')],
  ])('takes %s for a failure', (_what, body) => {
    expect(readWhole(body, null)).toMatchObject({ code: 'engine_failed' });
  });
});

describe('readRefusal', () => {
  it('never shows what is not OpenAI’s', () => {
    for (const body of ['', 'Transparent proxy request failed: http://10.0.0.1:8000', '{"detail":"x"}', '{"error":"x"}']) {
      expect(JSON.parse(readRefusal(404, Buffer.from(body)).toString())).toEqual({
        error: { message: 'the engine refused the request with HTTP 404', type: 'invalid_request_error', param: null, code: 404 },
      });
    }
  });
});
