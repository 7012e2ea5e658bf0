/** KVTiers on a real API server, with pods that are real processes and servers that are real ones: users, edits, and a tier that goes. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { type NatsServer, startNats } from '../servers/nats.ts';
import { findServer } from '../servers/programs.ts';
import { type RedisServer, startRedis } from '../servers/redis.ts';
import { until } from './bed.ts';
import { OperatorBed, SLOW_MS, type Stored } from './operatorbed.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const noServers = findServer('redis-server') === null || findServer('nats-server') === null;

interface TierStored extends Stored {
  readonly status?: Stored['status'] & {
    readonly users?: readonly { readonly name: string; readonly ready: string; readonly reason: string }[];
    readonly usersReady?: string;
    readonly parts?: number;
  };
}

function sim(change: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  const engine = { type: 'sim', sim: { costs: { stepFixed: 10 } } };
  return { model: { name: 'simulated' }, engine, decode: { replicas: 1 }, kv: { tierRef: { name: 'shared' } }, ...change };
}

describe.skipIf(noServers)('a KVTier', { timeout: 400_000 }, () => {
  let bed: OperatorBed;
  let redis: RedisServer;
  let nats: NatsServer;
  beforeAll(async () => {
    [redis, nats] = [await startRedis(), await startNats()];
    bed = await OperatorBed.open(inject('kubeconfig'), 'kvtier');
    await bed.operate();
  }, 120_000);
  afterAll(async () => {
    await bed?.close();
    await redis?.stop();
    await nats?.stop();
  });

  const servers = (budget = '50ms') => ({
    redis: { urls: [redis.url], budget },
    nats: { urls: [nats.url] },
    store: { redis: { url: redis.url }, scope: 'Model', capacity: '64Mi' },
  });
  const tier = () => bed.admin.demand<TierStored>('GET', bed.path('kvtiers', 'shared'));
  const uids = async (...names: readonly string[]) =>
    (await Promise.all(names.map((name) => bed.pods(name)))).flat().map(({ metadata }) => metadata.uid);

  async function says(name: string, type: string, reason: string): Promise<string> {
    let last: unknown = null;
    await until(
      async () => {
        last = await bed.condition(name, type);
        return (await bed.condition(name, type))?.reason === reason;
      },
      () => `${name} ${type} ${JSON.stringify(last)}\n${bed.log()}`,
      SLOW_MS,
    );
    return (await bed.condition(name, type))?.message ?? '';
  }

  async function tierSays(reason: string, message = /(?:)/): Promise<TierStored> {
    const ready = ({ metadata, status }: TierStored) =>
      status?.observedGeneration === metadata.generation &&
      status.conditions?.some((one) => one.type === 'Ready' && one.reason === reason && message.test(one.message));
    let last: TierStored | null = null;
    await until(
      async () => {
        last = await tier();
        return ready(last) === true;
      },
      () => `${JSON.stringify(last?.status, null, 1)}\n${bed.log()}`,
      SLOW_MS,
    );
    return tier();
  }

  it('that is not there is waited for: nothing is started, and what to do is said', async () => {
    await bed.put('chat', sim());
    expect(await says('chat', 'KVTierReady', 'TierMissing')).toMatch(
      /^KVTier shared is not there in namespace \S+: make it \(kubectl apply\)/,
    );
    const { status } = await bed.deployment('chat');
    const now = Object.fromEntries((status?.conditions ?? []).map((one) => [one.type, [one.status, one.reason]]));
    expect(now).toEqual({
      Ready: ['False', 'TierMissing'],
      KVTierReady: ['False', 'TierMissing'],
      Stalled: ['False', 'NothingKeepsFailing'],
      Reconciling: ['True', 'TierMissing'],
    });
    expect(await bed.pods('chat')).toEqual([]);
    expect(await diff('ServingDeployment', 'chat', sim())).toMatch(
      /^KVTier shared in namespace \S+: is not there.*\nchat in namespace \S+: no difference\n$/,
    );
    expect(await diff('KVTier', 'shared', servers())).toMatch(
      /^KVTier shared in namespace \S+: is not there yet\nchat in namespace \S+: 3 fields differ/,
    );
  });

  it('that comes is used, and says so of every user', async () => {
    await bed.putTier('shared', servers());
    await bed.put('batch', sim());
    for (const name of ['chat', 'batch']) {
      await bed.settled(name);
      expect(await says(name, 'KVTierReady', 'Connected')).toBe('routers use Redis and NATS of KVTier shared');
      expect((await bed.deployment(name)).status).toMatchObject({ kvTier: { name: 'shared', generation: 1 } });
    }
    const { status } = await tierSays('UsersReady');
    expect(status).toMatchObject({
      usersReady: '2/2',
      parts: 1,
      users: [
        { name: 'batch', ready: 'True' },
        { name: 'chat', ready: 'True' },
      ],
    });
    const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io';
    const { columnDefinitions, rows } = await bed.admin.demand<{
      readonly columnDefinitions: readonly { readonly name: string }[];
      readonly rows: readonly { readonly cells: readonly unknown[] }[];
    }>('GET', bed.path('kvtiers', 'shared'), { accept });
    const shown = Object.fromEntries(columnDefinitions.map(({ name }, index) => [name, rows[0]?.cells[index]]));
    const store = `${redis.url}, 64Mi per model`;
    expect(shown).toMatchObject({
      Name: 'shared',
      Redis: redis.url,
      NATS: nats.url,
      Store: store,
      Users: '2/2',
      Ready: 'True',
      Reason: 'UsersReady',
    });
    expect(await bed.stream('chat', 5)).toBe(5);
  });

  it('writes nothing when nothing changes', async () => {
    const writes = () => bed.writes().filter((request) => !request.includes('/events'));
    const before = writes();
    const rounds = bed.rounds('chat');
    const [body, contentType] = [{ metadata: { labels: { round: '1' } } }, 'application/merge-patch+json'];
    // A round over the tier, and one over a user, which is one more over the tier.
    await bed.admin.demand('PATCH', bed.path('kvtiers', 'shared'), { body, contentType });
    await bed.admin.demand('PATCH', bed.path('servingdeployments', 'chat'), { body, contentType });
    await until(
      () => bed.rounds('chat') > rounds,
      () => 'no round followed',
    );
    expect(writes()).toEqual(before);
  });

  /** What `sluice rollout diff` says to a manifest. */
  async function diff(kind: 'KVTier' | 'ServingDeployment', name: string, spec: object): Promise<string> {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-kvtier-'));
    try {
      const file = join(folder, 'manifest.yaml');
      writeFileSync(file, JSON.stringify({ apiVersion: 'serving.sluice.dev/v1alpha1', kind, metadata: { name }, spec }));
      const words = ['rollout', 'diff', '-f', file, '--kubeconfig', bed.kubeconfig, '-n', bed.namespace];
      const { stdout, stderr } = await promisify(execFile)(process.execPath, [MAIN, ...words]).catch((failed) => failed);
      return `${stdout}${stderr}`;
    } finally {
      rmSync(folder, { recursive: true });
    }
  }

  it('is compared with a file: what its edit would replace of each user, and why', async () => {
    expect(await diff('KVTier', 'shared', servers('50ms'))).toMatch(
      /^batch in namespace \S+: no difference\nchat in namespace \S+: no difference\n$/,
    );
    const edited = await diff('KVTier', 'shared', servers('55ms'));
    expect(edited).toMatch(/chat in namespace \S+: 1 field differs\n {2}KVTier shared spec\.redis\.budget {2}"50ms" → "55ms"/);
    expect(edited).toMatch(/mixed +1 instance replaced, .* because of KVTier shared spec\.redis\.budget/);
  });

  it('is edited like the kv of every user: instances and routers roll, no stream is lost, and it is ready when all have it', async () => {
    const before = await uids('chat', 'batch');
    let over = false;
    const load = async (name: string): Promise<number> => {
      let count = 0;
      for (; !over; count += 1) await bed.stream(name, 20);
      return count;
    };
    const clients = [load('chat'), load('batch')];
    await bed.putTier('shared', servers('60ms'));
    const { metadata } = await tierSays('UsersReady');
    over = true;
    for (const client of clients) expect(await client).toBeGreaterThan(0);
    expect(metadata.generation).toBe(2);
    // What leaves has streams to end, and is nobody's concern but its own.
    for (const name of ['chat', 'batch']) await bed.settled(name);
    const after = await uids('chat', 'batch');
    expect(after).toHaveLength(4);
    expect(after.filter((uid) => before.includes(uid))).toEqual([]);
  });

  it('waits with its edit for users whose roll is paused, and they name what waits', async () => {
    await bed.put('batch', sim({ rollout: { paused: true } }));
    await bed.settled('batch');
    const before = await uids('batch');
    await bed.putTier('shared', servers('70ms'));
    expect(await says('batch', 'Reconciling', 'Paused')).toContain('KVTier shared spec.redis.budget');
    const { status } = await tierSays('UsersRolling');
    await until(
      async () => (await tier()).status?.usersReady === '1/2',
      () => JSON.stringify(status),
      SLOW_MS,
    );
    expect((await tier()).status?.users?.[0]).toEqual({ name: 'batch', ready: 'Unknown', reason: 'Paused' });
    expect(await uids('batch')).toEqual(before);
    await bed.put('batch', sim());
    await tierSays('UsersReady');
  });

  it('says which user cannot use it, and why', async () => {
    await nats.kill();
    // It may say the same of one that is not yet at rest after its roll.
    await tierSays('UserNotReady', /cannot use it: batch \(NatsAway: router-0 does without NATS of KVTier shared: /);
    await nats.restart();
    await tierSays('UsersReady');
  });

  it('that goes takes nothing along: what runs goes on, is scaled and survives an operator that knows nothing', async () => {
    for (const name of ['chat', 'batch']) await bed.settled(name);
    const before = await uids('chat', 'batch');
    await bed.admin.demand('DELETE', bed.path('kvtiers', 'shared'));
    for (const name of ['chat', 'batch']) {
      expect(await says(name, 'KVTierReady', 'TierMissing')).toMatch(/go on with the servers that they were started with$/);
      expect((await bed.deployment(name)).status).not.toHaveProperty('kvTier');
    }
    await bed.rest();
    await bed.operate();
    await bed.put('chat', sim({ decode: { replicas: 2 } }));
    await bed.settled('chat');
    expect((await bed.condition('chat', 'KVTierReady'))?.reason).toBe('TierMissing');
    const after = await uids('chat', 'batch');
    expect(after).toHaveLength(5);
    expect(before.filter((uid) => !after.includes(uid))).toEqual([]);
    expect(await bed.stream('chat', 3)).toBe(3);
    await bed.putTier('shared', servers('70ms'));
    await tierSays('UsersReady');
    expect(before.filter((uid) => !after.includes(uid))).toEqual([]);
    expect((await uids('chat', 'batch')).sort()).toEqual(after.sort());
  });

  it('that is let go by its last user is unused', async () => {
    await bed.remove('batch');
    const { redis: own, nats: log } = servers('70ms');
    await bed.put('chat', sim({ decode: { replicas: 2 }, kv: { redis: own, nats: log } }));
    expect((await tierSays('Unused')).status).toMatchObject({ usersReady: '0/0', userCount: 0 });
    expect(await diff('KVTier', 'shared', servers('70ms'))).toMatch(/^KVTier shared in namespace \S+: no difference\n$/);
    expect(await diff('KVTier', 'shared', servers('80ms'))).toMatch(
      /^KVTier shared in namespace \S+: 1 field differs\n {2}spec\.redis\.budget {2}"70ms" → "80ms"\n$/,
    );
  });
});
