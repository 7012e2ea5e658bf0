import { expect, it } from 'vitest';
import { FakeClock } from '../../shared/index.ts';
import { EngineClient } from './client.ts';
import { costsOf, greet, warmUp } from './warmup.ts';

const MEASURED = { shortTokens: 64, shortMs: 40, longTokens: 256, longMs: 136, stepMs: 12.5 };

it('takes differences apart', () => {
  expect(costsOf(MEASURED)).toEqual({
    prefillFixed: 8,
    prefillPerToken: 0.5,
    prefillPerTokenContext: 0,
    stepFixed: 11.875,
    stepPerSequence: 0.625,
    stepPerContextToken: 0,
    pullFixed: 2,
    pullPerMiB: 1,
  });
});

it('gives no cost that is negative or nothing, whatever was measured', () => {
  const costs = costsOf({ ...MEASURED, longMs: 1, stepMs: -3 });
  for (const value of Object.values(costs)) expect(value).toBeGreaterThanOrEqual(0);
  expect(costs.prefillPerToken).toBeGreaterThan(0);
  expect(costs.stepFixed).toBeGreaterThan(0);
});

it.each([
  ['by the clock', 1, false],
  ['by processor time where others took the processor meanwhile', 3, true],
])('measures fresh prompts, and never meets its own: %s', async (_, slowdown, told) => {
  let busy = 1;
  const clock = new FakeClock();
  const known = new Set<string>();
  const client = new (class extends EngineClient {
    override post(path: string, body: { prompt: number[]; max_tokens: number; cache_salt: string }) {
      expect(path).toBe('/v1/completions');
      const key = `${body.cache_salt}/${body.prompt.join()}`;
      // 1 ms for the request, half a millisecond for each token that is not known, 10 ms for each step after the first.
      const work = 1 + (known.has(key) ? 0 : body.prompt.length / 2) + 10 * (body.max_tokens - 1);
      clock.advance(work * slowdown);
      busy += work;
      known.add(key);
      return Promise.resolve({ ok: true, status: 200, text: '{}' } as const);
    }
  })('http://nowhere');
  const result = await warmUp({
    client,
    clock,
    modelName: 'm',
    contextTokens: 4096,
    vocabulary: 258,
    requestMs: 1,
    busyMs: () => (told ? busy : null),
    alone: () => ({}),
  });
  expect(result).toMatchObject({ ok: true, costs: { prefillFixed: 1, prefillPerToken: 0.5, stepFixed: 9.5, stepPerSequence: 0.5 } });
  client.close();
});

it('says what went wrong', async () => {
  const client = new EngineClient('http://127.0.0.1:1');
  const options = {
    client,
    clock: new FakeClock(),
    modelName: 'm',
    contextTokens: 64,
    vocabulary: 1,
    requestMs: 1_000,
    busyMs: () => null,
    alone: () => ({}),
  };
  expect(await greet(options)).toBe('its first requests failed: ECONNREFUSED');
  expect(await warmUp(options)).toEqual({ ok: false, why: 'its first requests failed: ECONNREFUSED' });
  client.close();
});
