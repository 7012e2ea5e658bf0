/**
 * Streams that move between real engines while they decode: event for event what one instance that was left alone says, and nothing
 * left behind. What can go wrong on the way is in session-move-faults.test.ts.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { explainRecord, type MoveRecord } from '../../src/router/index.ts';
import { type Engine, Fleet, MODEL, until } from './fleet.ts';
import {
  ask,
  difference,
  disturbed,
  drain,
  GREEDY,
  isGone,
  nothingHeld,
  occupy,
  prompt,
  type Said,
  SEEDED,
  undrainAll,
} from './session-script.ts';

const fleet = new Fleet({
  roles: ['prefill', 'decode', 'decode', 'mixed'],
  engineArgs: ['--lease-ms', '3000', '--sequences', '3', '--drain-ms', '20000'],
});
let alone: Engine;

beforeAll(async () => {
  await fleet.start();
  alone = await fleet.setAside();
});
afterAll(() => fleet.stop());

afterEach(async () => {
  await undrainAll(fleet);
  for (const engine of fleet.engines) if (isGone(engine)) await fleet.replace(engine);
  await nothingHeld(fleet);
});

describe.each([
  ['greedy', GREEDY],
  ['seeded', SEEDED],
  ['with log-probabilities', { ...SEEDED, logprobs: 3 }],
  ['with a stop string that comes late', { ...SEEDED, stop: ['\u0000never', 'the the the the'] }],
])('a drained decode instance: %s', (name, sampling) => {
  it('the stream goes on elsewhere, event for event', async () => {
    const body = { ...sampling, prompt: prompt(1200) };
    const id = `drain-${name.replaceAll(' ', '-')}`;
    const expected = await ask(alone.url, body);
    const { said, outcome, record } = await disturbed(fleet, { id, body, at: 20 }, (engine) => drain(fleet, engine));
    expect(difference(said, expected)).toBeNull();
    expect(outcome).toMatchObject({ moved: 1, left: 0, aborted: {} });
    expect(record).toMatchObject({ outcome: 'ok', resumes: 0, attempts: [{}] });
    const [move] = record.moves as [MoveRecord];
    expect(move).toMatchObject({ state: 'released', reason: null, why: 'sluice kv drain', way: 'blocks' });
    expect(move.blocks).toBeGreaterThan(60);
    expect(move.bytes).toBeGreaterThan(0);
    expect(move.tokens).toBeGreaterThan(19);
    expect(move.pauseMs).toBeGreaterThan(0);
    expect(explainRecord(record)).toMatch(
      /move at .* decode-\d → decode-\d, after \d+ tokens: sluice kv drain\n.*\n {2}pause in the stream: .* ms, [\d.]+ times/,
    );
  });
});

it('usage tells the same cached tokens as if the stream had stayed', async () => {
  const body = { ...GREEDY, prompt: prompt(600) };
  const stayed = await ask(fleet.routerUrl, { ...body, max_tokens: 2 });
  const again = await ask(fleet.routerUrl, body);
  const { said } = await disturbed(fleet, { id: 'usage', body, at: 20 }, (engine) => drain(fleet, engine));
  const cached = ({ events }: { events: readonly object[] }) => /"cached_tokens":(\d+)/.exec(JSON.stringify(events.at(-1)))?.[1];
  expect(stayed.done).toBe(true);
  expect(Number(cached(again))).toBeGreaterThan(500);
  expect(cached(said)).toBe(cached(again));
});

it('moves back and forth: each time with the same tokens', async () => {
  const body = { ...SEEDED, max_tokens: 1600, prompt: prompt(800) };
  const expected = await ask(alone.url, body);
  const { said, record } = await disturbed(fleet, { id: 'forth', body, at: 20 }, async (engine) => {
    await drain(fleet, engine);
    await undrainAll(fleet);
    await drain(fleet, await fleet.busiest());
  });
  expect(difference(said, expected)).toBeNull();
  expect(record.moves.map(({ state }) => state)).toEqual(['released', 'released']);
});

it('SIGTERM of a decode instance moves its streams; it ends by itself', async () => {
  const body = { ...SEEDED, max_tokens: 1200, prompt: prompt(800) };
  const expected = await ask(alone.url, body);
  const { said, outcome, record } = await disturbed(fleet, { id: 'term', body, at: 20 }, async (engine) => {
    const gone = new Promise((resolve) => engine.process.once('exit', resolve));
    engine.process.kill('SIGTERM');
    return gone;
  });
  expect(difference(said, expected)).toBeNull();
  expect(outcome).toBe(0);
  expect(record).toMatchObject({ resumes: 0, moves: [{ state: 'released', why: 'the instance ends' }] });
});

it('several streams leave an instance together', async () => {
  const bodies = Array.from({ length: 3 }, (_, i) => ({ ...SEEDED, seed: i, max_tokens: 900, prompt: prompt(300) }));
  const expected = await Promise.all(bodies.map((body) => ask(alone.url, body)));
  // All on one instance.
  const [first, other] = fleet.of('decode') as [Engine, Engine];
  await drain(fleet, other);
  let started = 0;
  const asked = bodies.map((body, i) =>
    ask(fleet.routerUrl, body, { id: `several-${i}`, onEvent: (events) => (started += events === 5 ? 1 : 0) }),
  );
  await until('all of them decode', async () => started === 3);
  await undrainAll(fleet);
  expect(await drain(fleet, first)).toMatchObject({ moved: 3, left: 0 });
  const said = await Promise.all(asked);
  for (const [i, one] of said.entries()) expect(difference(one, expected[i] as Said)).toBeNull();
});

it('a target without a place: the stream stays where it is, and goes when there is one', async () => {
  const body = { ...GREEDY, max_tokens: 1500, prompt: prompt(100) };
  const expected = await ask(alone.url, body);
  const { said, record, outcome } = await disturbed(fleet, { id: 'full', body, at: 10 }, async (source) => {
    const target = fleet.of('decode').find((engine) => engine !== source) as Engine;
    const free = await occupy(fleet, target, 3);
    const before = await refusedAsFull();
    const drained = drain(fleet, source);
    // The stream decodes on meanwhile, and a quick machine is soon done with it: no longer than it takes.
    await until('a move is refused for want of a place', async () => (await refusedAsFull()) > before);
    free();
    return drained;
  });
  expect(outcome).toMatchObject({ moved: 1, left: 0 });
  expect(outcome?.aborted['full']).toBeGreaterThan(0);
  expect(difference(said, expected)).toBeNull();
  expect(record.moves.map(({ reason }) => reason)).toContain('full');
  expect(record.moves.at(-1)).toMatchObject({ state: 'released' });
});

async function metricsPage(): Promise<string> {
  return (await fetch(`${fleet.routerUrl}/metrics`)).text();
}

/** Moves of the router that ended so until now. */
async function refusedAsFull(): Promise<number> {
  return Number(/sluice_router_moves_aborted_total\{[^}]*reason="full"[^}]*\} (\d+)/.exec(await metricsPage())?.[1] ?? 0);
}

it('both decode instances drained at once: no place to go, and nothing is lost', async () => {
  const body = { ...GREEDY, max_tokens: 2000, prompt: prompt(200) };
  const expected = await ask(alone.url, body);
  const { said, outcome } = await disturbed(fleet, { id: 'both', body, at: 10 }, () =>
    Promise.all(fleet.of('decode').map((engine) => drain(fleet, engine, 800))),
  );
  expect(difference(said, expected)).toBeNull();
  // It may have been on its way to the other one when that was ordered to be drained too; from there it cannot go back.
  const sum = (name: 'moved' | 'left') => outcome?.reduce((total, one) => total + (one[name] ?? 0), 0);
  expect(sum('left')).toBe(1);
  expect(sum('moved')).toBeLessThanOrEqual(1);
});

it('a whole answer is waited for', async () => {
  const body = { ...GREEDY, max_tokens: 800, prompt: prompt(200), model: MODEL, ignore_eos: true };
  const whole = (url: string) =>
    fetch(`${url}/v1/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
  const asked = whole(fleet.routerUrl);
  await until('it runs', async () => (await fleet.instances()).some(({ id, inFlight }) => id.startsWith('decode') && inFlight > 0));
  await drain(fleet, await fleet.busiest(), 100);
  const answer = (await (await asked).json()) as { choices: { text: string }[] };
  const expected = (await (await whole(alone.url)).json()) as typeof answer;
  expect(answer.choices[0]?.text).toBe(expected.choices[0]?.text);
});

it('metrics tell of moves', async () => {
  const page = await metricsPage();
  expect(page).toMatch(/sluice_router_move_transitions_total\{[^}]*state="released"[^}]*\} [1-9]/);
  expect(page).toMatch(/sluice_router_moves_aborted_total\{[^}]*reason="full"[^}]*\} [1-9]/);
  expect(page).toMatch(/sluice_router_move_pause_seconds_count\{[^}]*\} [1-9]/);
});

it.each([
  ['decode-9/drain', 404, 'no instance decode-9'],
  ['decode-1/drain?timeoutMs=no', 400, 'timeoutMs must be a number from 1 to 3600000'],
])('a wrong order is refused: %s', async (path, status, message) => {
  const answer = await fetch(`${fleet.adminUrl}/admin/instances/${path}`, { method: 'POST' });
  expect(answer.status).toBe(status);
  expect(await answer.text()).toContain(message);
});
