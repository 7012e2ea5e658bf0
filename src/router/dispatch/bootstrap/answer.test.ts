import { describe, expect, it } from 'vitest';
import { readPrefilled } from './answer.ts';

const USAGE = { prompt_tokens: 40, completion_tokens: 1, prompt_tokens_details: { cached_tokens: 32 } };
const choice = (reason: string | null) => ({ choices: [{ index: 0, text: 'x', finish_reason: reason }] });
const events = (...payloads: object[]) =>
  Buffer.from([...payloads.map((one) => `data: ${JSON.stringify(one)}\n\n`), 'data: [DONE]\n\n'].join(''));

describe('readPrefilled', () => {
  it('reads what there was of the prompt, streamed and whole', () => {
    const right = { promptTokens: 40, cachedTokens: 32 };
    expect(readPrefilled(Buffer.from(JSON.stringify({ ...choice('length'), usage: USAGE })), false)).toEqual(right);
    expect(readPrefilled(events({ ...choice('length'), usage: null }, { choices: [], usage: USAGE }), true)).toEqual(right);
  });

  it('does without usage', () => {
    expect(readPrefilled(Buffer.from(JSON.stringify(choice('length'))), false)).toEqual({ promptTokens: 0, cachedTokens: null });
    expect(readPrefilled(events(choice('length')), true)).toEqual({ promptTokens: 0, cachedTokens: null });
  });

  it.each<[string, Buffer, boolean, string]>([
    ['an abort', Buffer.from(JSON.stringify(choice('abort'))), false, 'gave the request up'],
    ['an abort in a stream', events(choice('abort')), true, 'gave the request up'],
    [
      'an error in a stream',
      Buffer.from('data: {"error": {"object": "error", "message": "no room"}}\n\ndata: [DONE]\n\n'),
      true,
      'no room',
    ],
    ['an empty stream', Buffer.from('data: [DONE]\n\n'), true, 'no event'],
    ['no JSON', Buffer.from('oops'), false, 'no JSON'],
  ])('takes %s for a failure', (_what, body, stream, why) => {
    expect(readPrefilled(body, stream)).toContain(why);
  });
});
