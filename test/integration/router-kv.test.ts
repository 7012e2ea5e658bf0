/** A router that does not know yet what its instances hold asks the shared directory, for as long as a request may wait for that and no longer. */
import { afterEach, describe, expect, it } from 'vitest';
import { redisDirectory } from '../../src/kv/directory/redis/index.ts';
import { DirectoryWriter, memoryEventBus, type SharedDirectory } from '../../src/kv/index.ts';
import type { RequestRecord } from '../../src/router/index.ts';
import { systemClock } from '../../src/shared/index.ts';
import { findServer } from '../servers/programs.ts';
import { type RedisServer, startRedis } from '../servers/redis.ts';
import { type Bed, LONG_PROMPT, MODEL, recordAt, startBed, until } from './router-fixture.ts';

const BUDGET_MS = 5;
/** Where every answer is to come, also from a server that the machine lets wait. */
const PATIENT_MS = 2_000;
/** What a busy machine may add to a request of some milliseconds. */
const SLACK_MS = 300;

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

interface Scene {
  readonly bed: Bed;
  readonly redis: RedisServer;
  readonly writing: SharedDirectory;
}

/** Two instances that tell their blocks to Redis alone, in a deployment whose event log is there but tells nothing. */
async function scene(budgetMs: number): Promise<Scene> {
  const redis = await startRedis({ socket: true });
  const open = (ms: number) => redisDirectory({ servers: { urls: [redis.url] }, space: 'router', budgetMs: ms });
  const [reading, writing] = [open(budgetMs), open(PATIENT_MS)];
  await Promise.all([reading.ready(10_000), writing.ready(10_000)]);
  const bus = memoryEventBus({ clock: systemClock });
  ends.push(
    redis.stop,
    () => reading.close(),
    () => writing.close(),
    () => bus.close(),
  );
  const bed = await startBed({ mixed: 2, kv: { bus, directory: reading }, hidesBlocks: true });
  ends.push(() => bed.close());
  for (const { core } of bed.engines) {
    const { instance, incarnation, bytesPerBlock } = core.info;
    const common = { clock: systemClock, random: Math.random, source: core, directory: writing };
    const writer = new DirectoryWriter({ ...common, life: { instance, incarnation }, blockBytes: bytesPerBlock });
    ends.push(() => writer.stop());
  }
  await bed.ready();
  return { bed, redis, writing };
}

async function timed(bed: Bed, id: string, prompt: string): Promise<{ ms: number; record: RequestRecord }> {
  const start = performance.now();
  const answer = await bed.post('/v1/completions', { model: MODEL, prompt, max_tokens: 1, temperature: 0 }, { 'x-request-id': id });
  await answer.text();
  const ms = performance.now() - start;
  expect(answer.status).toBe(200);
  return { ms, record: await recordAt(bed.router.adminUrl, id) };
}

async function lookups(bed: Bed): Promise<Record<string, number>> {
  const text = await (await fetch(`${bed.router.url}/metrics`)).text();
  const found = text.matchAll(/sluice_router_directory_lookups_total\{[^}]*outcome="(\w+)"[^}]*\} (\d+)/g);
  return Object.fromEntries([...found].map(([, outcome, count]) => [outcome, Number(count)]));
}

const chosen = ({ attempts }: RequestRecord) => attempts[0]?.decision.chosen;

describe.skipIf(findServer('redis-server') === null)('hints of the shared directory', () => {
  it('send a prompt to the instance that holds it', async () => {
    const { bed, writing } = await scene(PATIENT_MS);
    const [holder] = bed.engines;
    if (!holder) throw new Error('no engine');
    // Past the router, which can know of it from Redis alone.
    const body = JSON.stringify({ model: MODEL, prompt: LONG_PROMPT, max_tokens: 1 });
    await (await fetch(`${holder.directUrl}/v1/completions`, { method: 'POST', body })).text();
    const held = holder.core.snapshot().tiers.hbm ?? [];
    await until(async () => (await writing.lookup(held))[0]?.held === held.length);
    for (let turn = 0; turn < 4; turn += 1) {
      const { record } = await timed(bed, `held-${turn}`, LONG_PROMPT);
      expect(chosen(record)).toMatchObject({ decode: holder.id });
      expect(chosen(record)?.cachedBlocks).toBeGreaterThan(0);
    }
    expect(await lookups(bed)).toMatchObject({ found: 4 });
  });

  it('are waited for no longer than the budget, and not at all once Redis is known to be away', async () => {
    const { bed, redis } = await scene(BUDGET_MS);
    await timed(bed, 'warm', LONG_PROMPT);
    redis.signal('SIGSTOP');
    try {
      const took: number[] = [];
      for (let turn = 0; turn < 12; turn += 1) took.push((await timed(bed, `away-${turn}`, `${turn} ${LONG_PROMPT}`)).ms);
      const [, , , , , , median = Number.NaN] = took.toSorted((a, b) => a - b);
      expect(median, took.join(', ')).toBeLessThan(BUDGET_MS + SLACK_MS);
      // A machine that stands still does so for one of them.
      expect(Math.max(...took), took.join(', ')).toBeLessThan(BUDGET_MS + 10 * SLACK_MS);
      const { failed = 0, skipped = 0 } = await lookups(bed);
      expect(failed).toBeGreaterThanOrEqual(1);
      expect(skipped).toBeGreaterThan(0);
      await until(async () => typeof ((await bed.admin('GET', '/admin/instances')) as { kv: { redis: unknown } }).kv.redis === 'string');
    } finally {
      redis.signal('SIGCONT');
    }
    await until(async () => ((await bed.admin('GET', '/admin/instances')) as { kv: { redis: unknown } }).kv.redis === null);
  });

  it('are not asked for when the instance itself has told', async () => {
    const { bed } = await scene(BUDGET_MS);
    for (const { gate } of bed.engines) gate.hidesBlocks = false;
    const known = async () => {
      const { instances } = (await bed.admin('GET', '/admin/instances')) as { instances: { blocksFrom: string }[] };
      return instances.every(({ blocksFrom }) => blocksFrom === 'feed');
    };
    // The feed that told nothing is given up after 5 s.
    await until(known);
    const before = await lookups(bed);
    await timed(bed, 'known', LONG_PROMPT);
    expect(await lookups(bed)).toEqual(before);
  });
});
