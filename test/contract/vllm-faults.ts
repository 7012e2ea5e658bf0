/** How a hand-off fails in a pair of vLLM 0.32.0. The last checks end an instance each. */
import { describe, expect, it } from 'vitest';
import { BLOCK, GREEDY, type VllmBed } from './vllm-bed.ts';
import { COMPLETIONS } from './vllm-client.ts';

const DEAD = {
  error: {
    message: 'EngineCore encountered an issue. See stack trace (above) for the root cause.',
    type: 'InternalServerError',
    param: null,
    code: 500,
  },
};
const FAILED = { error: { message: 'Internal server error', type: 'InternalServerError', param: null, code: 500 } };
const FAILED_EVENT = 'data: {"error": {"message": "Internal server error", "type": "InternalServerError", "param": null, "code": 500}}\n\n';

/** @param bed with a pair by the time that the checks run */
export function faults(bed: VllmBed): void {
  describe('faults', () => {
    it('a peer that is not there: the head of a stream goes out at once, the error follows in it', async () => {
      const prompt = bed.promptOf(2 * BLOCK);
      const nowhere = {
        ...(await bed.leg(prompt)),
        remote_port: bed.pair.deadPort,
        remote_engine_id: '00000000-0000-4000-8000-000000000000',
      };
      const body = { prompt, max_tokens: 4, ...GREEDY, kv_transfer_params: nowhere };
      const streamed = await bed.D.stream(COMPLETIONS, body);
      expect(streamed.status).toBe(200);
      expect(streamed.raw).toBe(`${FAILED_EVENT}data: [DONE]\n\n`);
      expect(streamed.headMs).toBeLessThan(bed.pair.contactMs / 2);
      expect(streamed.endMs).toBeGreaterThan(bed.pair.contactMs * 0.9);
      const whole = await bed.D.post(COMPLETIONS, body);
      expect([whole.status, whole.json]).toEqual([500, FAILED]);
      expect((await bed.D.send('/health', { method: 'GET' })).status).toBe(200);
    });

    it('a peer that is somebody else: the same error', async () => {
      const prompt = bed.promptOf(2 * BLOCK);
      const params = { ...(await bed.leg(prompt)), remote_engine_id: '00000000-0000-4000-8000-000000000001' };
      const streamed = await bed.D.stream(COMPLETIONS, { prompt, max_tokens: 4, ...GREEDY, kv_transfer_params: params });
      expect(streamed.raw).toBe(`${FAILED_EVENT}data: [DONE]\n\n`);
    });

    it('blocks of another prompt: taken without a word, so that what is said is wrong', async () => {
      const prompt = bed.promptOf(3 * BLOCK + 4);
      const other = await bed.leg(bed.promptOf(6 * BLOCK));
      const body = { prompt, max_tokens: 8, ...GREEDY, return_token_ids: true };
      const decode = await bed.D.whole(COMPLETIONS, { ...body, cache_salt: 'wrong', kv_transfer_params: other });
      expect(decode.choices[0]?.token_ids).not.toEqual((await bed.P.whole(COMPLETIONS, body)).choices[0]?.token_ids);
    });

    it('blocks that the peer can not have: refused at once, and the engine lives', async () => {
      const prompt = bed.promptOf(2 * BLOCK);
      const params = await bed.leg(prompt);
      const ids = (params['remote_block_ids'] as number[][])[0] ?? [];
      const far = { ...params, remote_block_ids: [ids.map((id) => id + 10_000_000)] };
      const { status, json } = await bed.D.post(COMPLETIONS, { prompt, max_tokens: 4, ...GREEDY, kv_transfer_params: far });
      expect([status, json]).toEqual([500, FAILED]);
      expect((await bed.D.post(COMPLETIONS, { prompt, max_tokens: 1 })).status).toBe(200);
    });

    it('a peer that died since: refused at once, and the engine goes on alone', async () => {
      const prompt = bed.promptOf(2 * BLOCK);
      const params = await bed.leg(prompt);
      const body = { prompt, max_tokens: 4, ...GREEDY };
      const alone = (await bed.P.whole(COMPLETIONS, body)).choices;
      await bed.pair.killPrefill();
      const startedAt = performance.now();
      const whole = await bed.D.post(COMPLETIONS, { ...body, kv_transfer_params: params });
      expect([whole.status, whole.json]).toEqual([500, FAILED]);
      const streamed = await bed.D.stream(COMPLETIONS, { ...body, kv_transfer_params: params });
      expect(streamed.raw).toBe(`${FAILED_EVENT}data: [DONE]\n\n`);
      expect(performance.now() - startedAt).toBeLessThan(bed.pair.contactMs);
      expect((await bed.D.whole(COMPLETIONS, body)).choices).toEqual(alone);
    });

    it('params that do not fit: the engine is dead for good, its HTTP answers a while, then the process ends', async () => {
      const prompt = bed.promptOf(3 * BLOCK);
      const params = {
        do_remote_prefill: true,
        do_remote_decode: false,
        remote_engine_id: 'e',
        remote_request_id: 'r',
        tp_size: 1,
        remote_host: '127.0.0.1',
        remote_port: bed.pair.deadPort,
      };
      const killer = await bed.D.post(COMPLETIONS, { prompt, max_tokens: 4, kv_transfer_params: params });
      expect([killer.status, killer.json]).toEqual([500, DEAD]);
      const next = await bed.D.post(COMPLETIONS, { prompt: 'ab', max_tokens: 1 }).catch(() => null);
      if (next !== null) expect([next.status, next.json]).toEqual([500, DEAD]);
      const health = await bed.D.send('/health', { method: 'GET' }).catch(() => null);
      if (health !== null) expect(health.status).toBe(503);
      const isGone = () =>
        bed.D.send('/health', { method: 'GET' }).then(
          () => false,
          () => true,
        );
      await bed.D.until('the process is gone', isGone, 20_000);
    });
  });
}
