/** Draining an instance that speaks vLLM's dialect: its blocks cannot be had while it decodes, so another one computes them again. */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { explainRecord } from '../../src/router/index.ts';
import { Fleet } from './fleet.ts';
import { ask, disturbed, drain, prompt, type Said, undrainAll } from './session-script.ts';

const fleet = new Fleet({
  roles: ['prefill', 'decode', 'decode'],
  type: 'sim',
  engineArgs: ['--dialect', 'nixl', '--costs', '{"stepFixed":10}'],
});

beforeAll(() => fleet.start());
afterAll(() => fleet.stop());
afterEach(() => undrainAll(fleet));

const textOf = ({ events }: Said) => events.map((event) => /"text":"((?:[^"\\]|\\.)*)"/.exec(JSON.stringify(event))?.[1] ?? '').join('');

it('the stream goes on elsewhere with the same text, and says how', async () => {
  const body = { temperature: 0, max_tokens: 200, prompt: prompt(100) };
  const expected = await ask(fleet.routerUrl, body);
  const { said, outcome, record } = await disturbed(fleet, { id: 'vllm', body, at: 20 }, (engine) => drain(fleet, engine));
  expect(said).toMatchObject({ done: true, error: null });
  expect(textOf(said)).toBe(textOf(expected));
  expect(textOf(said).length).toBeGreaterThan(100);
  expect(outcome).toMatchObject({ moved: 0, recomputed: 1, left: 0, aborted: {} });
  expect(record).toMatchObject({ outcome: 'ok', resumes: 1, moves: [{ way: 'recompute', state: 'released', blocks: 0 }] });
  expect(explainRecord(record)).toContain('the engine does not offer blocks of a running request: computed again by the next attempt');
  const { reservations, openLegs } = await fleet.leftovers();
  expect(reservations + openLegs).toBe(0);
});

it('drained again and again: it goes as often as it could be taken up, and stays then', async () => {
  const body = { temperature: 0, max_tokens: 1000, prompt: prompt(100) };
  const beginning = await ask(fleet.routerUrl, { ...body, max_tokens: 400 });
  const { said, outcome, record } = await disturbed(fleet, { id: 'again', body, at: 20 }, async () => {
    const gone: unknown[] = [];
    for (let time = 0; time < 4; time++) {
      gone.push(await drain(fleet, await fleet.busiest(), time < 3 ? 10_000 : 300));
      await undrainAll(fleet);
    }
    return gone;
  });
  expect(said).toMatchObject({ done: true, error: null });
  expect(textOf(said).startsWith(textOf(beginning))).toBe(true);
  expect(said.events.at(-1)).toMatchObject({ usage: { completion_tokens: 1000 } });
  expect(outcome).toMatchObject([...Array.from({ length: 3 }, () => ({ recomputed: 1, left: 0 })), { recomputed: 0, left: 1 }]);
  expect(record).toMatchObject({ outcome: 'ok', resumes: 3 });
});
