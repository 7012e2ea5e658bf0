/** What is wrong with a server, a user or a key is said at once, with what to do; nothing that is there is harmed. */
import { rmSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type RedisDirectory, type RedisDirectoryOptions, redisDirectory } from '../../src/kv/directory/redis/index.ts';
import { freePort } from '../ports.ts';
import { makeCertificate } from '../servers/certificates.ts';
import { disguise, redisOf } from '../servers/disguise.ts';
import { startNats } from '../servers/nats.ts';
import { findServer } from '../servers/programs.ts';
import { type RedisServer, startRedis, startRedisNode } from '../servers/redis.ts';
import { serverFolder, until } from '../servers/server.ts';
import { chain, LONG_MS, life } from './directory-contract.ts';

const noRedis = findServer('redis-server') === null;
const opened: RedisDirectory[] = [];

interface Options extends Omit<Partial<RedisDirectoryOptions>, 'servers'> {
  readonly servers?: Partial<RedisDirectoryOptions['servers']>;
}

function open(url: string, options: Options = {}): RedisDirectory {
  const { servers, ...rest } = options;
  const directory = redisDirectory({ space: 'refusals', budgetMs: 5_000, ...rest, servers: { urls: [url], ...servers } });
  opened.push(directory);
  return directory;
}

afterEach(async () => {
  await Promise.all(opened.splice(0).map((directory) => directory.close()));
});

describe('options', () => {
  it.each<[Options, string]>([
    [{ prefix: 'a{b}' }, 'prefix: expected at most 100 printable characters without blanks and braces, got "a{b}"'],
    [{ budgetMs: 0 }, 'budgetMs: expected an integer from 1'],
    [{ maxPending: 1.5 }, 'maxPending: expected an integer from 1'],
    [{ blockTtlMs: 0 }, 'blockTtlMs'],
    [{ maxInstances: 4097 }, 'maxInstances: expected an integer from 1 to 4096, got 4097'],
    [{ space: 'a{b' }, 'space: expected 1 to 200 letters, digits or ._:@-'],
  ])('refuses %j', (options, message) => {
    expect(() => open('redis://127.0.0.1:1', options)).toThrow(message);
  });
});

describe('no server', () => {
  it('is said with the address and the reason, and a call ends within its budget', async () => {
    const port = await freePort();
    const directory = open(`redis://me:secret@127.0.0.1:${port}`, { budgetMs: 30 });
    const message = new RegExp(`^Redis at redis://127\\.0\\.0\\.1:${port}: no connection within 200 ms; last: .*ECONNREFUSED`);
    await expect(directory.ready(200)).rejects.toMatchObject({
      code: 'unavailable',
      maybeApplied: false,
      message: expect.stringMatching(message),
    });
    await expect(directory.stats()).rejects.toMatchObject({ code: 'unavailable', message: expect.not.stringContaining('secret') });
  });
});

describe.skipIf(noRedis)('users', () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis({
      conf: ['user default on >right ~* &* +@all', 'user poor on >poor ~other:* -@all +info +evalsha +eval'],
      admin: { password: 'right' },
    });
  });
  afterAll(() => server?.stop());

  it.each([
    ['a wrong password', { password: 'wrong' }],
    ['no password', {}],
    ['an unknown user', { username: 'nobody', password: 'right' }],
  ])('refuses %s at once, and at every call', async (_what, servers) => {
    const directory = open(server.url, { servers });
    const fault = { code: 'denied', message: expect.stringContaining('username or password is not accepted: set the ones of an ACL user') };
    await expect(directory.ready(5_000)).rejects.toMatchObject(fault);
    await expect(directory.stats()).rejects.toMatchObject(fault);
  });

  it('names the rights that a user lacks', async () => {
    const directory = open(server.url, { servers: { username: 'poor', password: 'poor' } });
    await directory.ready(5_000);
    const message = expect.stringContaining('the ACL user lacks a right: grant ~sluice:{refusals}:* and the commands');
    await expect(directory.join(life('a'), 1000)).rejects.toMatchObject({ code: 'denied', message });
  });

  it('works again when the password is put right', async () => {
    await server.admin.call('ACL', 'SETUSER', 'late', 'on', '>old', '~*', '+@all');
    const directory = open(server.url, { servers: { username: 'late', password: 'new' }, budgetMs: 3_000 });
    await expect(directory.ready(5_000)).rejects.toMatchObject({ code: 'denied' });
    await server.admin.call('ACL', 'SETUSER', 'late', '>new');
    await until('it is let in', () => isReady(directory));
    expect(await directory.stats()).toEqual([]);
  });
});

describe.skipIf(noRedis || findServer('openssl') === null)('TLS', () => {
  let folder: string;
  let secure: RedisServer;
  let plain: RedisServer;
  let port: number;
  let ca: string;
  let strange: string;

  beforeAll(async () => {
    folder = serverFolder();
    const certificate = makeCertificate(folder, 'server');
    ca = certificate.cert;
    strange = makeCertificate(folder, 'stranger').cert;
    port = await freePort();
    const { certFile, keyFile } = certificate;
    secure = await startRedis({
      settings: {
        port: 0,
        'tls-port': port,
        'tls-cert-file': certFile,
        'tls-key-file': keyFile,
        'tls-ca-cert-file': certFile,
        'tls-auth-clients': 'no',
      },
      admin: { port, tls: { ca } },
    });
    plain = await startRedis();
  });
  afterAll(async () => {
    await secure?.stop();
    await plain?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it('works with the right authority', async () => {
    const directory = open(`rediss://127.0.0.1:${port}`, { servers: { tls: { ca } } });
    await directory.ready(5_000);
    expect(await directory.join(life('a'), LONG_MS)).toBe('joined');
  });

  it('refuses a certificate of an unknown authority, and one for another name', async () => {
    const unaccepted = {
      code: 'denied',
      message: expect.stringContaining("TLS: the server's certificate is not accepted: set tls.ca and tls.servername"),
    };
    await expect(open(`rediss://127.0.0.1:${port}`).ready(5_000)).rejects.toMatchObject(unaccepted);
    await expect(open(`rediss://127.0.0.1:${port}`, { servers: { tls: { ca: strange } } }).ready(5_000)).rejects.toMatchObject(unaccepted);
    const misnamed = open(`rediss://127.0.0.1:${port}`, { servers: { tls: { ca, servername: 'elsewhere.example' } } });
    await expect(misnamed.ready(5_000)).rejects.toMatchObject(unaccepted);
  });

  it('says when only one side speaks it', async () => {
    const tlsToPlain = open(`rediss://127.0.0.1:${plain.port}`, { servers: { tls: { ca } }, connectMs: 500 });
    await expect(tlsToPlain.ready(5_000)).rejects.toMatchObject({ message: expect.stringMatching(/speak (?:it|TLS) on this port/) });
    const plainToTls = open(`redis://127.0.0.1:${port}`);
    await expect(plainToTls.ready(1_500)).rejects.toMatchObject({
      message: expect.stringContaining('if the server wants TLS, the url begins with rediss://'),
    });
  });
});

describe.skipIf(noRedis)('servers', () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server?.stop());

  it('refuses one that is too old', async () => {
    const old = await disguise(server.port, redisOf('6.2.14'));
    try {
      const directory = open(`redis://127.0.0.1:${old.port}`);
      const message = expect.stringContaining('redis_version is 6.2.14, expected 7.0 or later: upgrade the server');
      await expect(directory.ready(5_000)).rejects.toMatchObject({ code: 'incompatible', message });
      await expect(directory.join(life('a'), 1)).rejects.toMatchObject({ code: 'incompatible', message });
    } finally {
      old.close();
    }
  });

  it('refuses a replica, and a server that becomes one', async () => {
    const replica = await startRedis({ settings: { replicaof: `127.0.0.1 ${server.port}` } });
    try {
      const message = expect.stringContaining('the server is a replica, expected the primary');
      const directory = open(replica.url);
      await expect(directory.ready(5_000)).rejects.toMatchObject({ code: 'readonly', message });
      await replica.admin.call('REPLICAOF', 'NO', 'ONE');
      await until('its promotion is seen', () => isReady(directory));
      await directory.join(life('a'), LONG_MS);
      await replica.admin.call('REPLICAOF', '127.0.0.1', server.port);
      await expect(directory.join(life('a'), LONG_MS)).rejects.toMatchObject({ code: 'readonly', maybeApplied: false });
      await until('it is seen for what it is', () =>
        directory.ready(100).then(
          () => false,
          ({ code }: { code?: string }) => code === 'readonly',
        ),
      );
    } finally {
      await replica.stop();
    }
  });
});

describe.skipIf(noRedis)('another kind of server', () => {
  const started: { stop(): Promise<void> }[] = [];
  afterEach(async () => {
    await Promise.all(started.splice(0).map((one) => one.stop()));
  });
  const kept = async <T extends { stop(): Promise<void> }>(starting: Promise<T>): Promise<T> => {
    const one = await starting;
    started.push(one);
    return one;
  };

  it('a single server that is to be a cluster', async () => {
    const server = await kept(startRedis());
    const fault = { code: 'incompatible', message: expect.stringContaining('the server is no cluster: leave kind cluster out') };
    const directory = open(server.url, { servers: { kind: 'cluster' } });
    await expect(directory.ready(5_000)).rejects.toMatchObject(fault);
    await expect(directory.stats()).rejects.toMatchObject(fault);
  });

  it('a node of a cluster that is to be a single server, and has other slots than ours', async () => {
    const node = await kept(startRedisNode());
    const slot = Number(await node.admin.call('CLUSTER', 'KEYSLOT', OUR_TAG));
    await node.admin.call('CLUSTER', 'ADDSLOTSRANGE', ...slotsBut(slot));
    // Somebody who is said to have ours, as far as the node knows.
    const other = await kept(startRedisNode());
    await other.admin.call('CLUSTER', 'ADDSLOTS', slot);
    await meet(node, other);
    const directory = open(node.url);
    const message = expect.stringContaining('the server is a node of a cluster, and another one has our keys: set kind cluster');
    await expect(directory.join(life('a'), LONG_MS)).rejects.toMatchObject({ code: 'incompatible', maybeApplied: false, message });
    const whole = open(node.url, { servers: { kind: 'cluster' } });
    expect(await whole.join(life('a'), LONG_MS)).toBe('joined');
  });

  it.each([
    ['as a whole does not serve without it', 'yes', 'cluster_state is fail with 16383 of 16384 slots served'],
    [
      'serves the other slots',
      'no',
      'the cluster does not serve the slot of sluice:{refusals}:*; bring the node back that has it, or assign it',
    ],
  ])('a cluster without the slot of ours that %s', async (_what, coverage, message) => {
    const node = await kept(startRedisNode({ 'cluster-require-full-coverage': coverage }));
    const slot = Number(await node.admin.call('CLUSTER', 'KEYSLOT', OUR_TAG));
    await node.admin.call('CLUSTER', 'ADDSLOTSRANGE', ...slotsBut(slot));
    await until('it serves as far as it will', async () =>
      String(await node.admin.call('CLUSTER', 'INFO')).includes(`cluster_state:${coverage === 'yes' ? 'fail' : 'ok'}`),
    );
    const directory = open(node.url, { servers: { kind: 'cluster' }, budgetMs: 1_000 });
    const fault = { code: 'unavailable', maybeApplied: false, message: expect.stringContaining(message) };
    await expect(directory.join(life('a'), LONG_MS)).rejects.toMatchObject(fault);
    await node.admin.call('CLUSTER', 'ADDSLOTS', slot);
    await until('the slot is used', () =>
      directory.join(life('a'), LONG_MS).then(
        (outcome) => outcome === 'joined',
        () => false,
      ),
    );
  });

  it('a cluster of which no node has a slot yet', async () => {
    const node = await kept(startRedisNode());
    const directory = open(node.url, { servers: { kind: 'cluster' }, budgetMs: 1_000 });
    await expect(directory.ready(1_000)).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('no node of the cluster can be used: no slots are assigned'),
    });
    await node.admin.call('CLUSTER', 'ADDSLOTSRANGE', 0, 16_383);
    await until('it is used', () => isReady(directory));
    expect(await directory.join(life('a'), LONG_MS)).toBe('joined');
  });

  it('a sentinel that is to be a primary', async () => {
    const sentinel = await kept(startRedis({ sentinel: true }));
    await expect(open(sentinel.url).ready(5_000)).rejects.toMatchObject({
      code: 'incompatible',
      message: expect.stringContaining('the server is a sentinel, expected a primary: set kind sentinel and sentinelName'),
    });
  });

  it.skipIf(findServer('nats-server') === null)('something that is no Redis', async () => {
    const nats = await kept(startNats());
    await expect(open(`redis://127.0.0.1:${nats.port}`).ready(5_000)).rejects.toMatchObject({
      code: 'incompatible',
      message: expect.stringContaining('what listens there does not speak as Redis does: check host and port'),
    });
  });
});

describe.skipIf(noRedis)('keys that are not ours', () => {
  let server: RedisServer;
  let directory: RedisDirectory;
  const keys = chain(1, 3);
  const name = `sluice:{refusals}:b:${keys[1]}`;
  const publication = { seq: 1, tier: 'hbm', keys, blockBytes: 1 } as const;

  beforeAll(async () => {
    server = await startRedis({ socket: true });
  });
  afterAll(() => server?.stop());
  afterEach(() => server.admin.flushall());

  it.each([
    ['a value of another version', () => server.admin.set(name, 'S2whatever'), () => server.admin.get(name), 'S2whatever'],
    ['a cut value', () => server.admin.set(name, 'S1half'), () => server.admin.get(name), 'S1half'],
    ['another type', () => server.admin.rpush(name, 'x'), () => server.admin.lrange(name, 0, -1), ['x']],
  ] as const)('%s is named and left as it is', async (_what, plant, read, expected) => {
    directory = open(server.url);
    await directory.join(life('a'), LONG_MS);
    await plant();
    const fault = {
      code: 'incompatible',
      maybeApplied: false,
      message: expect.stringContaining(`key ${JSON.stringify(name)} holds what this version did not write`),
    };
    await expect(directory.publish(life('a'), publication)).rejects.toMatchObject(fault);
    await expect(directory.withdraw(life('a'), publication)).rejects.toMatchObject(fault);
    await expect(directory.lookup(keys)).rejects.toMatchObject(fault);
    await expect(directory.lease(life('a'), keys.slice(1), LONG_MS)).rejects.toMatchObject(fault);
    expect(await read()).toEqual(expected);
    expect(await directory.lookup(keys.slice(0, 1)), 'nothing was half done').toEqual([]);
    await server.admin.del(name);
    expect(await directory.publish(life('a'), publication)).toBe('applied');
    expect(await directory.lookup(keys)).toMatchObject([{ held: 3 }]);
  });

  it('a table of another type is named by its prefix', async () => {
    directory = open(server.url);
    await server.admin.set('sluice:{refusals}:lives', 'x');
    const message = expect.stringContaining('a key under sluice:{refusals}: is not ours: delete it, or choose another prefix');
    await expect(directory.join(life('a'), LONG_MS)).rejects.toMatchObject({ code: 'incompatible', message });
    expect(await server.admin.get('sluice:{refusals}:lives')).toBe('x');
  });

  it('everything has a time to live', async () => {
    directory = open(server.url);
    await directory.join(life('a'), LONG_MS);
    await directory.publish(life('a'), publication);
    await directory.lease(life('a'), keys, LONG_MS);
    const all = await server.admin.keys('*');
    expect(all).toHaveLength(3 + 4);
    for (const key of all) expect(await server.admin.pttl(key), key).toBeGreaterThan(0);
  });

  it('fencing costs as much for 4,000 blocks as for one, and no search', async () => {
    directory = open(server.url);
    const costs: number[] = [];
    for (const [name, blocks] of [
      ['warm-up', 1],
      ['small', 1],
      ['large', 4_000],
    ] as const) {
      await directory.join(life(name), LONG_MS);
      await directory.publish(life(name), { seq: 1, tier: 'hbm', keys: chain(9, blocks), blockBytes: 1 });
      const before = await commandCalls(server);
      await directory.fence(life(name));
      costs.push((await commandCalls(server)) - before);
    }
    expect(costs[2]).toBe(costs[1]);
    expect(await directory.lookup(chain(9, 1))).toEqual([]);
  });
});

/** What decides in which slot our keys are. */
const OUR_TAG = 'refusals';

/** Ranges of all slots but one. */
function slotsBut(slot: number): number[] {
  return [...(slot > 0 ? [0, slot - 1] : []), ...(slot < 16_383 ? [slot + 1, 16_383] : [])];
}

/** Until each knows what slots the other has. */
async function meet(one: RedisServer, other: RedisServer): Promise<void> {
  const bus = await other.admin.call('CONFIG', 'GET', 'cluster-port');
  await one.admin.call('CLUSTER', 'MEET', '127.0.0.1', other.port, Array.isArray(bus) ? Number(bus[1]) : 0);
  await Promise.all(
    [one, other].map((node) =>
      until('the two are one cluster', async () => {
        const info = String(await node.admin.call('CLUSTER', 'INFO'));
        return info.includes('cluster_state:ok') && info.includes('cluster_slots_ok:16384');
      }),
    ),
  );
}

async function isReady(directory: RedisDirectory): Promise<boolean> {
  return directory.ready(1_000).then(
    () => true,
    () => false,
  );
}

async function commandCalls(server: RedisServer): Promise<number> {
  const stats = await server.admin.info('commandstats');
  return [...stats.matchAll(/calls=(\d+)/g)].reduce((sum, [, calls]) => sum + Number(calls), 0);
}
