/** How a pair of vLLM 0.32.0 hands over the KV of a prompt. */
import { describe, expect, it } from 'vitest';
import { BLOCK, GREEDY, type VllmBed } from './vllm-bed.ts';
import { type Answer, CHAT, COMPLETIONS, KEEP, keysOf, textOf } from './vllm-client.ts';

const PARAMS = [
  'do_remote_prefill',
  'do_remote_decode',
  'remote_block_ids',
  'remote_engine_id',
  'remote_request_id',
  'remote_host',
  'remote_port',
  'tp_size',
  'dcp_size',
  'pp_size',
  'remote_num_tokens',
  'remote_blocks_expiry_time',
  'transfer_mode',
  'remote_prefill_cached_tokens',
];

/** @param bed with a pair by the time that the checks run */
export function handOff(bed: VllmBed): void {
  describe('hand-off', () => {
    it('gives out of one what the other goes on with: the same tokens, and what the first had counts as cached', async () => {
      const prompt = bed.promptOf(3 * BLOCK + 4);
      const headers = { 'x-request-id': 'pd-1' };
      const asked = { prompt, max_tokens: 1, ...GREEDY, kv_transfer_params: KEEP, cache_salt: 't1' };
      const prefill = (await bed.P.post(COMPLETIONS, asked, headers)).json as Answer;
      const params = prefill.kv_transfer_params ?? {};
      expect(keysOf(params)).toEqual(PARAMS);
      expect(params).toMatchObject({
        do_remote_prefill: true,
        do_remote_decode: false,
        remote_num_tokens: prompt.length,
        remote_request_id: expect.stringMatching(/^cmpl-pd-1-0-[0-9a-f]{8}$/),
        tp_size: 1,
        remote_blocks_expiry_time: null,
        transfer_mode: 'pull',
        remote_prefill_cached_tokens: 0,
      });
      const body = { prompt, max_tokens: 20, ...GREEDY, return_token_ids: true, cache_salt: 't1' };
      const decode = (await bed.D.post(COMPLETIONS, { ...body, kv_transfer_params: params }, headers)).json as Answer;
      const alone = await bed.P.whole(COMPLETIONS, body);
      expect(decode.choices).toEqual(alone.choices);
      expect(decode).toMatchObject({ id: 'cmpl-pd-1', kv_transfer_params: null, usage: { prompt_tokens_details: { cached_tokens: 0 } } });
      expect(alone.usage?.prompt_tokens_details?.cached_tokens).toBe(3 * BLOCK);
      const again = (await bed.P.whole(COMPLETIONS, asked)).kv_transfer_params;
      expect(again).toMatchObject({ remote_prefill_cached_tokens: 3 * BLOCK, remote_num_tokens: prompt.length });
      const longer = (await bed.P.whole(COMPLETIONS, { ...asked, max_tokens: 3 })).kv_transfer_params;
      expect(longer).toMatchObject({ remote_num_tokens: prompt.length + 2 });
      expect(longer).not.toHaveProperty('remote_prefill_cached_tokens');
      const told = { ...params, remote_prefill_cached_tokens: 7 };
      const second = await bed.D.whole(COMPLETIONS, { ...body, kv_transfer_params: told });
      expect([second.choices, second.usage?.prompt_tokens_details?.cached_tokens]).toEqual([alone.choices, 7]);
    });

    it('works for prompts shorter than a block, and for chats', async () => {
      const prompt = bed.promptOf(5);
      const body = { prompt, max_tokens: 6, ...GREEDY };
      const decode = await bed.D.whole(COMPLETIONS, { ...body, kv_transfer_params: await bed.leg(prompt) });
      expect(decode.choices).toEqual((await bed.P.whole(COMPLETIONS, body)).choices);
      const chat = {
        messages: [{ role: 'user', content: 'a longer text, so that there is something to hand over to the other' }],
        ...GREEDY,
      };
      const params = (await bed.P.whole(CHAT, { ...chat, max_tokens: 1, kv_transfer_params: KEEP })).kv_transfer_params ?? {};
      const streamed = await bed.D.stream(CHAT, { ...chat, max_tokens: 6, kv_transfer_params: params });
      expect(streamed.text).toBe(textOf(await bed.P.whole(CHAT, { ...chat, max_tokens: 6 })));
    });

    it('brings no params in a stream, though the blocks are kept until their lease ends', async () => {
      const before = await bed.P.metric('nixl_num_kv_expired_reqs_total');
      const asked = { prompt: bed.promptOf(2 * BLOCK), max_tokens: 1, ...GREEDY, kv_transfer_params: KEEP };
      expect((await bed.P.stream(COMPLETIONS, asked)).raw).not.toContain('remote_engine_id');
      expect(await bed.P.metric('kv_cache_usage_perc')).toBeGreaterThan(0);
      await bed.P.until(
        'the lease is over',
        async () => (await bed.P.metric('nixl_num_kv_expired_reqs_total')) > before,
        bed.pair.leaseMs + 10_000,
      );
      await bed.P.until('the blocks are free', async () => (await bed.P.metric('kv_cache_usage_perc')) === 0);
    });

    it('moves only the blocks that are lacking', async () => {
      const prompt = bed.promptOf(6 * BLOCK);
      const moved = async (tokens: number) => {
        const before = await bed.D.metric('nixl_bytes_transferred_sum');
        const part = prompt.slice(0, tokens);
        await bed.D.whole(COMPLETIONS, { prompt: part, max_tokens: 1, ...GREEDY, kv_transfer_params: await bed.leg(part) });
        await bed.D.until('the pull is counted', async () => (await bed.D.metric('nixl_bytes_transferred_sum')) > before);
        return (await bed.D.metric('nixl_bytes_transferred_sum')) - before;
      };
      const first = await moved(4 * BLOCK);
      expect(await moved(6 * BLOCK)).toBe(first / 2);
    });

    it('takes params twice', async () => {
      const prompt = bed.promptOf(2 * BLOCK);
      const params = await bed.leg(prompt);
      const body = { prompt, max_tokens: 4, ...GREEDY, kv_transfer_params: params };
      const alone = await bed.P.whole(COMPLETIONS, { prompt, max_tokens: 4, ...GREEDY });
      for (let time = 0; time < 2; time += 1) expect((await bed.D.whole(COMPLETIONS, body)).choices).toEqual(alone.choices);
    });

    it('frees the blocks when they are read, when the request is refused there, and when their lease ends', async () => {
      const isFree = async () => (await bed.P.metric('kv_cache_usage_perc')) === 0;
      await bed.P.until('idle', isFree, bed.pair.leaseMs + 10_000);
      const kept = async (prompt: number[]) => {
        const params = await bed.leg(prompt);
        expect(await isFree()).toBe(false);
        return { prompt, max_tokens: 1, ...GREEDY, kv_transfer_params: params };
      };
      await bed.D.whole(COMPLETIONS, await kept(bed.promptOf(200)));
      await bed.P.until('freed by reading', isFree, bed.pair.leaseMs / 2);
      const refused = await bed.D.post(COMPLETIONS, { ...(await kept(bed.promptOf(200))), max_tokens: -1 });
      expect(refused.status).toBe(400);
      await bed.P.until('freed by a refusal', isFree, bed.pair.leaseMs / 2);
      const expired = await bed.P.metric('nixl_num_kv_expired_reqs_total');
      const late = await kept(bed.promptOf(200));
      await bed.P.until('freed by time', isFree, bed.pair.leaseMs + 10_000);
      expect(await bed.P.metric('nixl_num_kv_expired_reqs_total')).toBe(expired + 1);
      // Nobody notices that it comes late: what is read may be something else by then.
      expect((await bed.D.post(COMPLETIONS, late)).status).toBe(200);
    });

    it('is not asked for by params that say so or nothing', async () => {
      const body = { prompt: bed.promptOf(20), max_tokens: 2, ...GREEDY };
      const plain = await bed.D.whole(COMPLETIONS, body);
      for (const params of [{}, null, { do_remote_prefill: false }]) {
        expect((await bed.D.whole(COMPLETIONS, { ...body, kv_transfer_params: params })).choices).toEqual(plain.choices);
      }
    });
  });
}
