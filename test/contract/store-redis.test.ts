/** The contract on real Redis, single and cluster, and what only a server does. */
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RedisServers } from '../../src/kv/directory/redis/index.ts';
import type { BlockStore } from '../../src/kv/index.ts';
import { redisStore } from '../../src/kv/store/redis/index.ts';
import { findServer } from '../servers/programs.ts';
import { type RedisServer, startRedis, startRedisCluster } from '../servers/redis.ts';
import { SKEW_MS, skewed } from './skewed.ts';
import { BLOCK_BYTES, chainOf, SETUP, storeContract, wanted } from './store-contract.ts';

const BUDGET_MS = 10_000;
let spaces = 0;
const stores: BlockStore[] = [];

function openIn(servers: RedisServers, space: string, setup: object = {}): BlockStore {
  const store = redisStore({ servers, space, prefix: 'sluice-test:', budgetMs: BUDGET_MS, ...SETUP, ...setup });
  stores.push(store);
  return store;
}

async function damage(admins: readonly Redis[], space: string, change: (value: Buffer) => Buffer): Promise<number> {
  let count = 0;
  for (const admin of admins) {
    for (const key of await admin.keys(`sluice-test:{${space}}:store:g:*`)) {
      const value = await admin.getBuffer(key);
      if (value) await admin.set(key, change(value), 'KEEPTTL');
      count += 1;
    }
  }
  return count;
}

interface Bed {
  readonly servers: RedisServers;
  readonly admins: readonly Redis[];
  readonly stop: () => Promise<unknown>;
}

const BEDS: Readonly<Record<string, () => Promise<Bed>>> = {
  Redis: async () => {
    const server = await startRedis();
    return { servers: { urls: [server.url] }, admins: [server.admin], stop: server.stop };
  },
  'A Redis cluster': async () => {
    const nodes = await startRedisCluster();
    const stop = () => Promise.all(nodes.map((node) => node.stop()));
    return { servers: { kind: 'cluster', urls: nodes.map(({ url }) => url) }, admins: nodes.map(({ admin }) => admin), stop };
  },
};

for (const [name, make] of Object.entries(BEDS)) {
  describe.skipIf(findServer('redis-server') === null)(name, () => {
    let bed: Bed;
    beforeAll(async () => {
      bed = await make();
    });
    afterAll(async () => {
      await Promise.all(stores.splice(0).map((store) => store.close()));
      await bed?.stop();
    });
    storeContract(name, async (setup = {}) => {
      spaces += 1;
      const space = `s${spaces}`;
      return {
        store: openIn(bed.servers, space, { clock: skewed(SKEW_MS), ...setup }),
        other: openIn(bed.servers, space, { clock: skewed(-SKEW_MS), ...setup }),
        seen: async () => undefined,
        damage: (change) => damage(bed.admins, space, change),
      };
    });
  });
}

describe.skipIf(findServer('redis-server') === null)('a store in Redis', () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(async () => {
    await Promise.all(stores.splice(0).map((store) => store.close()));
    await server?.stop();
  });

  it('keeps values of 128 KiB to 1 MiB, and every key has an end', async () => {
    const store = openIn({ urls: [server.url] }, 'sizes', { groupBytes: undefined });
    await store.write(chainOf(1, 40).blocks);
    const keys = await server.admin.keys('sluice-test:{sizes}:*');
    const sizes = await Promise.all(keys.filter((key) => key.includes(':g:')).map((key) => server.admin.strlen(key)));
    expect(Math.min(...sizes)).toBeGreaterThanOrEqual(128 << 10);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(1 << 20);
    for (const key of keys) expect(await server.admin.pttl(key)).toBeGreaterThan(0);
  });

  it('puts a group that is larger than a value into several', async () => {
    const store = openIn({ urls: [server.url] }, 'large', { groupBytes: 3 << 20 });
    const chain = chainOf(2, 80);
    expect(await store.write(chain.blocks)).toMatchObject({ written: 80, copies: 1 });
    const keys = await server.admin.keys('sluice-test:{large}:store:g:*');
    expect(keys).toHaveLength(3);
    expect((await store.read(wanted(chain))).blocks).toHaveLength(80);
    await server.admin.del(keys[1] as string);
    expect(await store.read(wanted(chain))).toMatchObject({ blocks: [], failed: 'a stored group is gone' });
  });

  it('forgets values whose time is over, and their bytes with them', async () => {
    const store = openIn({ urls: [server.url] }, 'time', { ttlMs: 400 });
    const chain = chainOf(3, 16);
    await store.write(chain.blocks);
    for (const table of ['order', 'counts']) await server.admin.persist(`sluice-test:{time}:store:${table}`);
    await expect.poll(() => store.match(chain.keys), { timeout: 5_000 }).toBe(0);
    await store.write(chainOf(4, 4).blocks);
    expect(await store.usage()).toMatchObject({ groups: 1 });
    expect((await store.usage()).usedBytes).toBeLessThan(5 * BLOCK_BYTES);
  });

  it('says what a foreign key is, and leaves it as it is', async () => {
    const store = openIn({ urls: [server.url] }, 'foreign');
    await server.admin.set('sluice-test:{foreign}:store:order', 'mine');
    expect(await store.write(chainOf(5, 4).blocks)).toMatchObject({ written: 0, dropped: 4 });
    expect(store.condition()).toMatchObject({ reason: 'Incompatible' });
    expect(store.condition().message).toMatch(/not ours: delete it, or choose another prefix/);
    expect(await server.admin.get('sluice-test:{foreign}:store:order')).toBe('mine');
  });

  it('says why it is not let in, and which option is wrong', async () => {
    const own = await startRedis({ settings: { requirepass: 'right' }, admin: { password: 'right' } });
    try {
      const store = openIn({ urls: [own.url], password: 'wrong' }, 'denied', { budgetMs: 2_000 });
      expect(await store.write(chainOf(8, 4).blocks)).toMatchObject({ written: 0, dropped: 4 });
      expect(store.condition()).toMatchObject({ reason: 'Denied' });
      expect(store.condition().message).toMatch(/username or password is not accepted/);
      expect(store.condition().message).not.toContain('wrong');
    } finally {
      await own.stop();
    }
    const servers = { urls: [server.url] };
    expect(() => openIn(servers, 'a b')).toThrow(/^space: expected/);
    expect(() => openIn(servers, 'x', { tenantShare: 2 })).toThrow('tenantShare: expected more than 0 and at most 1, got 2');
    expect(() => openIn(servers, 'x', { prefix: '{' })).toThrow(/^prefix: expected/);
    expect(() => openIn(servers, 'x', { ttlMs: 0 })).toThrow(/^ttlMs: expected/);
    expect(() => openIn({ urls: ['http://x'] }, 'x')).toThrow(/expected redis:/);
  });

  it('does without a server that is away, full or not to be entered, and takes it up again', async () => {
    const own = await startRedis({ settings: { maxmemory: '4mb', 'maxmemory-policy': 'noeviction' } });
    try {
      const store = openIn({ urls: [own.url] }, 'away', { pauseMs: 20, budgetMs: 1_000 });
      const chain = chainOf(6, 8);
      expect((await store.write(chain.blocks)).written).toBe(8);
      await store.write(chainOf(7, 200).blocks);
      expect(store.condition()).toMatchObject({ reason: 'Full' });
      expect(store.condition().message).toMatch(/maxmemory is used up: raise it, or lower the capacity of the store/);
      // The server keeps to its bound but for the value that reached it.
      expect(Number(/used_memory:(\d+)/.exec(await own.admin.info('memory'))?.[1])).toBeLessThan(5 << 20);
      await own.kill();
      expect(await store.match(chain.keys)).toBe(0);
      expect(store.condition().reason).toBe('Unavailable');
      expect((await store.read(wanted(chain, { deadlineMs: 100 }))).blocks).toEqual([]);
      await own.restart();
      await expect
        .poll(async () => (await store.write(chain.blocks)).written + (await store.match(chain.keys)), { timeout: 10_000 })
        .toBeGreaterThan(7);
      expect(store.condition().reason).toBe('Ready');
    } finally {
      await own.stop();
    }
  });
});
