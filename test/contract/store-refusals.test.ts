/**
 * What is wrong with the Redis of a store is a condition that says what to do. Blocks are dropped and counted meanwhile, what is there is left
 * as it is, and once it is put right the store goes on by itself.
 */
import { rmSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { RedisServers } from '../../src/kv/directory/redis/index.ts';
import type { BlockStore, StoreCondition } from '../../src/kv/index.ts';
import { type RedisStoreOptions, redisStore } from '../../src/kv/store/redis/index.ts';
import { freePort } from '../ports.ts';
import { makeCertificate } from '../servers/certificates.ts';
import { disguise, redisOf } from '../servers/disguise.ts';
import { findServer } from '../servers/programs.ts';
import { type RedisServer, startRedis, startRedisNode } from '../servers/redis.ts';
import { serverFolder } from '../servers/server.ts';
import { chainOf, SETUP, wanted } from './store-contract.ts';

const noRedis = findServer('redis-server') === null;
const PREFIX = 'sluice:{refused}:store:';
const BLOCKS = 4;
const opened: BlockStore[] = [];
const started: RedisServer[] = [];

function open(url: string, servers: Partial<RedisServers> = {}, options: Partial<RedisStoreOptions> = {}): BlockStore {
  const quick = { budgetMs: 1_000, connectMs: 1_000, pauseMs: 20, backoff: { firstMs: 20, maxMs: 100, factor: 2 } };
  const store = redisStore({ space: 'refused', ...quick, ...SETUP, ...options, servers: { urls: [url], ...servers } });
  opened.push(store);
  return store;
}

async function kept(starting: Promise<RedisServer>): Promise<RedisServer> {
  const server = await starting;
  started.push(server);
  return server;
}

/** Nothing is written or found, the blocks are counted as dropped, and it is said why. */
async function expectRefused(store: BlockStore, reason: StoreCondition['reason'], message: string | RegExp): Promise<void> {
  const chain = chainOf(1, BLOCKS);
  const before = store.counters().droppedBlocks;
  // One that has not connected yet waits within its budget, and then says what it has heard.
  await expect
    .poll(() => refusal(store), { timeout: 10_000 })
    .toEqual({ reason, message: typeof message === 'string' ? expect.stringContaining(message) : expect.stringMatching(message) });
  expect(await store.match(chain.keys)).toBe(0);
  expect((await store.read(wanted(chain, { deadlineMs: 500 }))).blocks).toEqual([]);
  expect(store.counters().droppedBlocks).toBeGreaterThanOrEqual(before + BLOCKS);
  expect(store.counters().corrupt).toBe(0);
}

async function refusal(store: BlockStore): Promise<object> {
  expect((await store.write(chainOf(1, BLOCKS).blocks)).written).toBe(0);
  return store.condition();
}

async function expectMended(store: BlockStore): Promise<void> {
  const chain = chainOf(2, BLOCKS);
  await expect
    .poll(async () => (await store.write(chain.blocks)).written + (await store.match(chain.keys)), { timeout: 10_000 })
    .toBeGreaterThan(0);
  expect((await store.read(wanted(chain))).blocks).toHaveLength(BLOCKS);
  expect(store.condition().reason).toBe('Ready');
}

afterEach(async () => {
  await Promise.all(opened.splice(0).map((store) => store.close()));
  await Promise.all(started.splice(0).map((server) => server.stop()));
});

it('nobody at the address', async () => {
  await expectRefused(open(`redis://127.0.0.1:${await freePort()}`), 'Unavailable', /no connection within 1000 ms; last: .*ECONNREFUSED/);
});

describe.skipIf(noRedis)('a user', () => {
  it('with a wrong password, until it is put right', async () => {
    const server = await kept(startRedis({ conf: ['user kv on >old ~* +@all'] }));
    const store = open(server.url, { username: 'kv', password: 'new-one' });
    await expectRefused(store, 'Denied', 'username or password is not accepted: set the ones of an ACL user');
    expect(store.condition().message).not.toContain('new-one');
    await server.admin.call('ACL', 'SETUSER', 'kv', '>new-one');
    await expectMended(store);
  });

  it('without a right, until it is given', async () => {
    const server = await kept(startRedis({ conf: ['user kv on >word ~* +@all -zadd'] }));
    const store = open(server.url, { username: 'kv', password: 'word' });
    await expectRefused(store, 'Denied', 'the ACL user lacks a right: grant ~sluice:{refused}:* and the commands');
    await server.admin.call('ACL', 'SETUSER', 'kv', '+zadd');
    await expectMended(store);
  });
});

describe.skipIf(noRedis || findServer('openssl') === null)('TLS', () => {
  const folder = serverFolder();
  let secure: RedisServer;
  let url: string;
  let ca: string;
  let strange: string;

  beforeAll(async () => {
    const own = makeCertificate(folder, 'server');
    ca = own.cert;
    strange = makeCertificate(folder, 'stranger').cert;
    const port = await freePort();
    const tls = { 'tls-cert-file': own.certFile, 'tls-key-file': own.keyFile, 'tls-ca-cert-file': own.certFile, 'tls-auth-clients': 'no' };
    secure = await startRedis({ settings: { port: 0, 'tls-port': port, ...tls }, admin: { port, tls: { ca } } });
    url = `rediss://127.0.0.1:${port}`;
  });
  afterAll(async () => {
    await secure?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it('with a certificate that is not accepted', async () => {
    await expectRefused(open(url, { tls: { ca: strange } }), 'Denied', "TLS: the server's certificate is not accepted: set tls.ca");
  });

  it('that the server wants, and the url does not say', async () => {
    await expectRefused(open(url.replace('rediss', 'redis')), 'Unavailable', 'if the server wants TLS, the url begins with rediss://');
  });

  it('as it should be', async () => {
    await expectMended(open(url, { tls: { ca } }));
  });
});

describe.skipIf(noRedis)('a server', () => {
  it('that is too old', async () => {
    const server = await kept(startRedis());
    const old = await disguise(server.port, redisOf('6.2.14'));
    try {
      await expectRefused(open(`redis://127.0.0.1:${old.port}`), 'Incompatible', 'redis_version is 6.2.14, expected 7.0 or later');
      expect(await server.admin.dbsize()).toBe(0);
    } finally {
      old.close();
    }
  });

  it('that is a replica, until it is promoted; what it has stays', async () => {
    const primary = await kept(startRedis());
    const first = open(primary.url);
    const chain = chainOf(3, BLOCKS);
    expect((await first.write(chain.blocks)).written).toBe(BLOCKS);
    const replica = await kept(startRedis({ settings: { replicaof: `127.0.0.1 ${primary.port}`, 'repl-diskless-sync-delay': 0 } }));
    await expect.poll(() => replica.admin.dbsize(), { timeout: 10_000 }).toBeGreaterThan(0);
    const store = open(replica.url);
    await expectRefused(store, 'Denied', 'the server is a replica, expected the primary');
    await replica.admin.call('REPLICAOF', 'NO', 'ONE');
    await expectMended(store);
    expect((await store.read(wanted(chain))).blocks).toHaveLength(BLOCKS);
  });

  it('that is a cluster without the slot, until it has it', async () => {
    const node = await kept(startRedisNode());
    const slot = Number(await node.admin.call('CLUSTER', 'KEYSLOT', 'refused'));
    await node.admin.call('CLUSTER', 'ADDSLOTSRANGE', 0, slot - 1, slot + 1, 16_383);
    const store = open(node.url, { kind: 'cluster' });
    await expectRefused(store, 'Unavailable', 'cluster_state is fail with 16383 of 16384 slots served');
    await node.admin.call('CLUSTER', 'ADDSLOTS', slot);
    await expectMended(store);
  });
});

describe.skipIf(noRedis)('keys that are not ours', () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis({ socket: true });
  });
  afterAll(() => server?.stop());
  afterEach(() => server.admin.flushall());

  const [first = ''] = chainOf(1, BLOCKS).keys;
  const id = `${chainOf(1, BLOCKS).keys.at(-1)}-${BLOCKS.toString(16)}`;

  it.each<[string, string, (key: string) => Promise<unknown>]>([
    ['a table of ours of another type', `${PREFIX}counts`, (key) => server.admin.rpush(key, 'mine')],
    ['a description of a value of another type', `${PREFIX}m:${id}`, (key) => server.admin.rpush(key, 'mine')],
    ['the place of a block of another type', `${PREFIX}b:${first}`, (key) => server.admin.rpush(key, 'mine')],
  ])('%s: is left as it is, and nothing is half written', async (_what, key, plant) => {
    await plant(key);
    const store = open(server.url);
    await expectRefused(store, 'Incompatible', 'a key under sluice:{refused}: is not ours: delete it, or choose another prefix');
    expect(await server.admin.keys('*')).toEqual([key]);
    expect(await server.admin.lrange(key, 0, -1)).toEqual(['mine']);
    await server.admin.del(key);
    await expectMended(store);
  });

  it('a place of a block that names no value of ours is left as it is', async () => {
    const key = `${PREFIX}b:${first}`;
    await server.admin.set(key, 'mine');
    const store = open(server.url);
    await expectRefused(store, 'Incompatible', `the key "${key}" is not ours: delete it, or choose another prefix`);
    expect(await server.admin.keys('*')).toEqual([key]);
    expect(await server.admin.get(key)).toBe('mine');
    await server.admin.del(key);
    await expectMended(store);
  });

  it('a description that counts no chunks is not believed', async () => {
    await server.admin.set(`${PREFIX}b:${first}`, id);
    await server.admin.hset(`${PREFIX}m:${id}`, 'chunks', 'many');
    const store = open(server.url);
    expect((await store.read(wanted(chainOf(1, BLOCKS)))).blocks).toEqual([]);
    expect(store.condition()).toMatchObject({ reason: 'Incompatible', message: expect.stringContaining('is not ours: delete it') });
    expect(await server.admin.hget(`${PREFIX}m:${id}`, 'chunks')).toBe('many');
  });
});
