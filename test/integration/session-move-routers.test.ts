/**
 * `sluice kv drain` with several routers in front: one is asked, the instance tells all, and each moves the streams that it has. Engines
 * are simulated, so that streams last as long as they say on any machine; what moves between real ones is in session-move.test.ts.
 */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import type { RequestRecord, TopView } from '../../src/router/index.ts';
import { type Engine, Fleet, json, type RouterSeat, until } from './fleet.ts';
import {
  ask,
  difference,
  drain,
  GREEDY,
  isGone,
  nothingHeld,
  occupy,
  prompt,
  type Said,
  SEEDED,
  undrain,
  undrainAll,
} from './session-script.ts';
import { sandbox } from './up-process.ts';

const PLACES = 6;
const fleet = new Fleet({
  roles: ['decode', 'decode', 'mixed'],
  type: 'sim',
  engineArgs: ['--lease-ms', '3000', '--sequences', String(PLACES), '--costs', '{"stepFixed":15}'],
});
const box = sandbox();
let alone: Engine;
let second: RouterSeat;

beforeAll(async () => {
  await fleet.start();
  alone = await fleet.setAside();
  second = await fleet.addRouter();
});
afterAll(async () => {
  await box.close();
  await fleet.stop();
});

afterEach(async () => {
  await undrainAll(fleet);
  for (const engine of fleet.engines) if (isGone(engine)) await fleet.replace(engine);
  for (const engine of fleet.engines) await seen(engine, 'ready');
  await nothingHeld(fleet, second);
});

async function topOf({ adminUrl }: RouterSeat, { id }: Engine) {
  const { instances } = await json<TopView>(`${adminUrl}/admin/top`);
  return instances.find((one) => one.id === id);
}

/** By every router. */
async function seen(engine: Engine, state: 'ready' | 'draining'): Promise<void> {
  for (const seat of [fleet, second])
    await until(`${engine.id} is ${state} for ${seat.adminUrl}`, async () => (await topOf(seat, engine))?.state === state);
}

interface Streams {
  readonly first: Engine;
  readonly other: Engine;
  readonly expected: Promise<readonly Said[]>;
  readonly said: Promise<readonly Said[]>;
}

/** Streams, the even ones through one router, the odd ones through the other, that all decode on one instance. */
async function streamsOnOne(name: string, count: number): Promise<Streams> {
  const bodies = Array.from({ length: count }, (_, i) => ({ ...SEEDED, seed: i, max_tokens: 800, prompt: prompt(300) }));
  const [first, other] = fleet.of('decode') as [Engine, Engine];
  await drain(fleet, other);
  await seen(other, 'draining');
  let started = 0;
  const onEvent = (events: number) => (started += events === 5 ? 1 : 0);
  const asked = bodies.map((body, i) => ask((i % 2 === 0 ? fleet : second).routerUrl, body, { id: `${name}-${i}`, onEvent }));
  await until('all of them decode', async () => started === count);
  // Whoever was asked to drain it, another may take it back.
  await undrain(second, other);
  await seen(other, 'ready');
  for (const seat of [fleet, second])
    await until('both routers know of all of them', async () => (await topOf(seat, first))?.running === count);
  const expected = Promise.all(bodies.map((body) => ask(alone.url, body)));
  return { first, other, expected, said: Promise.all(asked) };
}

async function expectSame({ said, expected }: Streams): Promise<void> {
  const theirs = await expected;
  for (const [i, one] of (await said).entries()) expect(difference(one, theirs[i] as Said)).toBeNull();
}

async function recordsOf(name: string, count: number): Promise<RequestRecord[]> {
  const ids = Array.from({ length: count }, (_, i) => i);
  return Promise.all(ids.map((i) => json<RequestRecord>(`${(i % 2 === 0 ? fleet : second).adminUrl}/admin/requests/${name}-${i}`)));
}

it('one of them is asked: the streams of all leave, with the same tokens, and nothing new comes', async () => {
  const streams = await streamsOnOne('all', 4);
  const { first, other } = streams;
  const drained = box.run(['kv', 'drain', first.id, '--router', second.adminUrl]);
  expect((await drained.exit).code).toBe(0);
  expect(drained.stdout()).toMatch(
    /^decode-0: 2 streams moved in \d+\.\d s\nrequests of other routers that were on it, which those see to: 2\nnothing is left on it\n$/,
  );
  expect(await fleet.load(first)).toMatchObject({ running: 0, waiting: 0, leases: 0 });
  expect((await fleet.load(other)).running).toBe(4);
  await ask(fleet.routerUrl, { ...GREEDY, max_tokens: 2, prompt: prompt(50) }, { id: 'new' });
  expect((await fleet.record('new')).attempts).toMatchObject([{ decision: { chosen: { decode: other.id } } }]);
  await expectSame(streams);
  for (const { resumes, moves } of await recordsOf('all', 4)) {
    expect(resumes).toBe(0);
    expect(moves.at(-1)).toMatchObject({ from: first.id, to: other.id, state: 'released', why: 'sluice kv drain', way: 'blocks' });
  }
});

it('taken back at another one: the drain ends, and what could not go yet stays', async () => {
  const streams = await streamsOnOne('back', 2);
  const { first, other } = streams;
  const free = await occupy(fleet, other, PLACES);
  const drained = drain(fleet, first, 30_000);
  await seen(first, 'draining');
  await undrain(second, first);
  expect(await drained).toMatchObject({ moved: 0, left: 2 });
  await seen(first, 'ready');
  free();
  await expectSame(streams);
  for (const { moves } of await recordsOf('back', 2)) expect(moves.map(({ state }) => state)).not.toContain('released');
});

it('the instance is started anew: the drain ends, and the new one is used by all', async () => {
  const streams = await streamsOnOne('anew', 2);
  const { first, other } = streams;
  const free = await occupy(fleet, other, PLACES);
  const drained = drain(fleet, first, 30_000);
  await seen(first, 'draining');
  await fleet.kill(first);
  free();
  await fleet.replace(first);
  expect(await drained).toMatchObject({ moved: 0, left: null });
  for (const engine of fleet.of('decode')) await seen(engine, 'ready');
  await expectSame(streams);
});

it('the router that was asked is killed: the others go on, and the next one knows', async () => {
  const streams = await streamsOnOne('killed', 2);
  const { first, other } = streams;
  const free = await occupy(fleet, other, PLACES);
  const drained = drain(fleet, first, 30_000).catch((thrown: unknown) => thrown);
  await seen(first, 'draining');
  fleet.router?.kill('SIGKILL');
  expect(await drained).toBeInstanceOf(Error);
  free();
  const [cut, whole] = await streams.said;
  expect(cut?.done).toBe(false);
  expect(difference(whole as Said, (await streams.expected)[1] as Said)).toBeNull();
  const { moves } = await json<RequestRecord>(`${second.adminUrl}/admin/requests/killed-1`);
  expect(moves.at(-1)).toMatchObject({ from: first.id, to: other.id, state: 'released' });
  await fleet.restartRouter();
  await seen(first, 'draining');
  // Nothing goes through it, and nobody waits for that.
  const { instances } = await json<{ instances: object[] }>(`${fleet.adminUrl}/admin/instances`);
  expect(instances).toContainEqual(expect.objectContaining({ id: first.id, connected: true, proven: false, emptied: true }));
});
