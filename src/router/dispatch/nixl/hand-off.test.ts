import { describe, expect, it } from 'vitest';
import { readHandOff } from './hand-off.ts';

/** As a real vLLM 0.32.0 answered a prompt of 33 tokens in blocks of 32. */
const PARAMS = {
  do_remote_prefill: true,
  do_remote_decode: false,
  remote_block_ids: [[5, 6]],
  remote_engine_id: '7b606d05-934f-4200-bd32-cdf551fcce1a',
  remote_request_id: 'cmpl-r33-0-85c35168',
  remote_host: '127.0.0.1',
  remote_port: 5600,
  tp_size: 1,
  dcp_size: 1,
  pp_size: 1,
  remote_num_tokens: 33,
  remote_blocks_expiry_time: null,
  transfer_mode: 'pull',
  remote_prefill_cached_tokens: 0,
};
const USAGE = { prompt_tokens: 33, total_tokens: 34, completion_tokens: 1, prompt_tokens_details: null };

function read(change: object = {}, usage: unknown = USAGE) {
  return readHandOff(Buffer.from(JSON.stringify({ usage, kv_transfer_params: { ...PARAMS, ...change } })), 32);
}

describe('readHandOff', () => {
  it('takes what vLLM says, untouched', () => {
    expect(read()).toEqual({ params: PARAMS, promptTokens: 33, cachedTokens: 0, blocks: 2 });
  });

  it('knows what was cached from details, else from the params, else not at all', () => {
    const details = { ...USAGE, prompt_tokens_details: { cached_tokens: 32 } };
    expect(read({}, details)).toMatchObject({ cachedTokens: 32 });
    expect(read({ remote_prefill_cached_tokens: 16 })).toMatchObject({ cachedTokens: 16 });
    expect(read({ remote_prefill_cached_tokens: null })).toMatchObject({ cachedTokens: null });
  });

  it('takes two groups of blocks', () => {
    expect(
      read({
        remote_block_ids: [
          [1, 2],
          [3, 4],
        ],
      }),
    ).toMatchObject({ blocks: 2 });
  });

  it.each<[string, object]>([
    ['too few blocks', { remote_block_ids: [[5]] }],
    ['too many blocks', { remote_block_ids: [[5, 6, 7]] }],
    ['one group that does not fit', { remote_block_ids: [[5, 6], [7]] }],
    ['no group', { remote_block_ids: [] }],
    ['blocks that are no lists', { remote_block_ids: [5, 6] }],
    ['no blocks', { remote_block_ids: null }],
    ['another count of tokens', { remote_num_tokens: 32 }],
    ['no engine', { remote_engine_id: null }],
    ['no request', { remote_request_id: undefined }],
    ['no host', { remote_host: 7 }],
    ['no port', { remote_port: '5600' }],
    ['a direction that is not ours', { do_remote_prefill: false }],
  ])('refuses %s', (_what, change) => {
    expect(typeof read(change)).toBe('string');
  });

  it.each(['', '[]', '{}', '{"kv_transfer_params":null,"usage":{"prompt_tokens":33}}', JSON.stringify({ kv_transfer_params: PARAMS })])(
    'refuses %s',
    (body) => {
      expect(typeof readHandOff(Buffer.from(body), 32)).toBe('string');
    },
  );
});
