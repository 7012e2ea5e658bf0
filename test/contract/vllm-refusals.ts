/** What vLLM 0.32.0 refuses. */
import { describe, expect, it } from 'vitest';
import { GREEDY, type VllmBed } from './vllm-bed.ts';
import { COMPLETIONS, type Json, keysOf } from './vllm-client.ts';
import { ERRORS } from './vllm-errors.ts';

/** @param bed with a pair by the time that the checks run */
export function refusals(bed: VllmBed): void {
  describe('refusals', () => {
    it.each(ERRORS)('$what', async ({ path, body, headers, expected }) => {
      const response = await bed.P.send(path, { headers, body });
      const { error } = response.json as { error: Json };
      expect(keysOf(error)).toEqual(['message', 'type', 'param', 'code']);
      expect({ status: response.status, ...error }).toMatchObject({ ...expected, code: expected.status });
    });

    it('of paths and methods have another body', async () => {
      const nowhere = await bed.P.send('/v1/nowhere', { body: {} });
      expect([nowhere.status, nowhere.json]).toEqual([404, { detail: 'Not Found' }]);
      const got = await bed.P.send(COMPLETIONS, { method: 'GET' });
      expect([got.status, got.json, got.headers.get('allow')]).toEqual([405, { detail: 'Method Not Allowed' }, 'POST']);
    });

    it('are none for an answer that would not fit: it is made shorter', async () => {
      const body = { prompt: Array.from({ length: 4000 }, () => 97), max_tokens: 200, ...GREEDY };
      expect((await bed.P.whole(COMPLETIONS, body)).usage).toMatchObject({ prompt_tokens: 4000, completion_tokens: 96 });
    });

    it('leave the engine well', async () => {
      expect((await bed.P.send('/health', { method: 'GET' })).status).toBe(200);
      const { status, json } = await bed.P.send('/version', { method: 'GET' });
      expect([status, json]).toEqual([200, { version: expect.stringMatching(/^0\.32\.0/) }]);
    });
  });
}
