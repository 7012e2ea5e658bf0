/** What the shared directory does while Redis is away, stands still, is full, or fails over: calls end in time, and nothing is wrong afterwards. */
import { afterEach, describe, expect, it } from 'vitest';
import { type RedisDirectory, type RedisDirectoryOptions, type RedisServers, redisDirectory } from '../../src/kv/directory/redis/index.ts';
import { DirectoryFault, type Life } from '../../src/kv/index.ts';
import { chain, LONG_MS, life } from '../contract/directory-contract.ts';
import { findServer } from '../servers/programs.ts';
import { type RedisServer, startRedis, startRedisCluster, startSentinelSet } from '../servers/redis.ts';
import { until } from '../servers/server.ts';

const BUDGET_MS = 100;
const SLACK_MS = 400;
/** For calls that must be answered, on a busy machine too. */
const PATIENT = { budgetMs: 5_000 };
const PAUSE_MS = 10_000;

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function server(settings: Readonly<Record<string, string | number>> = {}): Promise<RedisServer> {
  const started = await startRedis({ settings });
  ends.push(started.stop);
  return started;
}

function open(servers: RedisServers, options: Partial<RedisDirectoryOptions> = {}): RedisDirectory {
  const directory = redisDirectory({
    space: 'survival',
    budgetMs: BUDGET_MS,
    backoff: { firstMs: 20, maxMs: 100, factor: 2 },
    servers,
    ...options,
  });
  ends.push(() => directory.close());
  return directory;
}

/** One whose calls end soon, and one on the same servers whose calls are to be answered; both are ready. */
async function openBoth(servers: RedisServers, options: Partial<RedisDirectoryOptions> = {}) {
  const [directory, patient] = [open(servers, options), open(servers, PATIENT)];
  await Promise.all([directory.ready(5_000), patient.ready(5_000)]);
  return { directory, patient };
}

/**
 * How a call ended, or that it did not end in time. The time is that of timers of this process, as the budget is: if the process stood
 * still, the call comes first all the same.
 */
async function fate(call: Promise<unknown>): Promise<string> {
  const late = Promise.withResolvers<string>();
  // A call, too, takes one more turn of the event loop when its time is over.
  const timer = setTimeout(() => setImmediate(() => late.resolve('not in time')), BUDGET_MS + SLACK_MS);
  const end = call.then(
    (value) => JSON.stringify(value),
    (error: { code?: string; message: string }) => error.code ?? error.message,
  );
  const first = await Promise.race([end, late.promise]);
  clearTimeout(timer);
  return first;
}

/** As an agent does it: joins anew and publishes all it holds. */
async function resync(directory: RedisDirectory, who: Life, keys: readonly string[]): Promise<void> {
  expect(await directory.join(who, LONG_MS)).toBe('joined');
  expect(await directory.publish(who, { seq: 1, tier: 'hbm', keys, blockBytes: 10 })).toBe('applied');
}

async function isHeldAfterResync(directory: RedisDirectory, keys: readonly string[]): Promise<boolean> {
  try {
    await directory.join(life('a'), LONG_MS);
    await directory.publish(life('a'), { seq: 1, tier: 'hbm', keys, blockBytes: 10 });
    return (await directory.lookup(keys))[0]?.held === keys.length;
  } catch (error) {
    if (error instanceof DirectoryFault && error.passing) return false;
    throw error;
  }
}

const held = async (directory: RedisDirectory, keys: readonly string[]) =>
  (await directory.lookup(keys)).map((match) => [match.instance, match.held]);
const isBack = (directory: RedisDirectory) =>
  until('Redis is used again', () =>
    directory.stats().then(
      () => true,
      () => false,
    ),
  );

describe.skipIf(findServer('redis-server') === null)('the shared directory', () => {
  it('outlives a Redis that is killed and comes back empty', async () => {
    const redis = await server();
    const { directory, patient } = await openBoth({ urls: [redis.url] });
    const keys = chain(1, 100);
    await resync(patient, life('a'), keys);
    await redis.kill();
    const whileAway = await Promise.all(Array.from({ length: 50 }, () => fate(directory.lookup(keys))));
    expect(new Set(whileAway)).toEqual(new Set(['unavailable']));
    expect(await fate(directory.publish(life('a'), { seq: 2, tier: 'hbm', keys, blockBytes: 10 }))).toBe('unavailable');
    await redis.restart();
    await isBack(directory);
    expect(await patient.lookup(keys)).toEqual([]);
    expect(await patient.publish(life('a'), { seq: 2, tier: 'hbm', keys, blockBytes: 10 })).toBe('unknown');
    expect(await patient.renew(life('a'), LONG_MS)).toBe('unknown');
    await resync(patient, life('a'), keys);
    expect(await held(patient, keys)).toEqual([['a', 100]]);
  });

  it('bridges a Redis that is away for less than the budget', async () => {
    const redis = await server();
    const directory = open({ urls: [redis.url] }, { budgetMs: 10_000 });
    await directory.ready(5_000);
    await redis.kill();
    const waiting = directory.join(life('a'), LONG_MS).catch((error: { code?: string }) => error.code);
    await until('the loss is seen', () => Promise.resolve(!redis.admin.status.includes('ready')));
    const later = directory.join(life('b'), LONG_MS);
    await redis.restart();
    // Sent as the connection broke, a call says so instead of being sent twice.
    expect(['joined', 'unavailable']).toContain(await waiting);
    expect(await later).toBe('joined');
  });

  it('ends calls in time and holds a bounded number of them while Redis stands still', async () => {
    const redis = await server();
    const { directory, patient } = await openBoth({ urls: [redis.url] }, { maxPending: 20, stallMs: 1_000, connectMs: 500 });
    const keys = chain(1, 50);
    await resync(patient, life('a'), keys);
    redis.signal('SIGSTOP');
    const end = performance.now() + PAUSE_MS;
    const fates = new Set<string>();
    try {
      const burst = await Promise.all(Array.from({ length: 100 }, () => fate(directory.lookup(keys))));
      expect(burst.filter((end) => end === 'overloaded')).toHaveLength(80);
      expect(burst.filter((end) => end === 'timeout')).toHaveLength(20);
      while (performance.now() < end) fates.add(await fate(directory.lookup(keys)));
    } finally {
      redis.signal('SIGCONT');
    }
    for (const end of fates) expect(['timeout', 'unavailable', 'overloaded']).toContain(end);
    await isBack(directory);
    expect(await held(patient, keys)).toEqual([['a', 50]]);
    expect(await patient.publish(life('a'), { seq: 2, tier: 'host', keys, blockBytes: 10 })).toBe('applied');
  });

  it('says that a call may have been carried out, and takes its repetition', async () => {
    const redis = await server();
    const { directory, patient } = await openBoth({ urls: [redis.url] });
    await patient.join(life('a'), LONG_MS);
    const publication = { seq: 1, tier: 'hbm', keys: chain(1, 5), blockBytes: 10 } as const;
    redis.signal('SIGSTOP');
    try {
      await expect(directory.publish(life('a'), publication)).rejects.toMatchObject({ code: 'timeout', maybeApplied: true });
    } finally {
      redis.signal('SIGCONT');
    }
    await isBack(directory);
    expect(['applied', 'stale']).toContain(await patient.publish(life('a'), publication));
    expect(await held(patient, chain(1, 5))).toEqual([['a', 5]]);
  });

  it('sees that something is missing when Redis lost the newest of it', async () => {
    const redis = await server();
    const directory = open({ urls: [redis.url] }, PATIENT);
    await directory.ready(5_000);
    await resync(directory, life('a'), chain(1, 5));
    // As after a failover to a replica that was behind.
    await redis.admin.hset('sluice:{survival}:i:a', 'seq', 0);
    expect(await directory.publish(life('a'), { seq: 2, tier: 'hbm', keys: chain(2, 1), blockBytes: 10 })).toBe('gap');
    await resync(directory, life('a'), chain(1, 5));
  });

  it('refuses more when Redis is full, forgets and renews all the same, and goes on when there is room', async () => {
    const redis = await server({ maxmemory: '12mb', 'maxmemory-policy': 'noeviction' });
    const directory = open({ urls: [redis.url] }, PATIENT);
    await directory.ready(5_000);
    await directory.join(life('a'), LONG_MS);
    let seq = 0;
    let full: unknown;
    while (full === undefined && seq < 200) {
      const publication = { seq: seq + 1, tier: 'hbm', keys: chain(seq + 1, 2_000), blockBytes: 10 } as const;
      full = await directory.publish(life('a'), publication).then(
        () => undefined,
        (error: unknown) => error,
      );
      if (full === undefined) seq += 1;
    }
    expect(full).toMatchObject({
      code: 'full',
      maybeApplied: false,
      message: expect.stringContaining('maxmemory is used up: raise it, or lower blockTtlMs'),
    });
    expect(seq).toBeGreaterThan(1);
    expect(await held(directory, chain(seq, 2_000))).toEqual([['a', 2_000]]);
    expect(await held(directory, chain(seq + 1, 2_000)), 'nothing was half done').toEqual([]);
    expect(await directory.renew(life('a'), LONG_MS)).toBe('renewed');
    for (let done = 1; done <= seq; done += 1) {
      const withdrawal = { seq: seq + done, tier: 'hbm', keys: chain(done, 2_000) } as const;
      expect(await directory.withdraw(life('a'), withdrawal)).toEqual({ outcome: 'applied', kept: [] });
    }
    await until('there is room', async () => !(await directory.join(life('b'), LONG_MS).catch(() => 'full')).includes('full'));
    expect(await directory.publish(life('a'), { seq: 2 * seq + 1, tier: 'hbm', keys: chain(1, 10), blockBytes: 10 })).toBe('applied');
  });

  it('goes on when its connection is cut', async () => {
    const redis = await server();
    const directory = open({ urls: [redis.url] }, PATIENT);
    await directory.ready(5_000);
    await resync(directory, life('a'), chain(1, 5));
    for (let cut = 0; cut < 5; cut += 1) {
      await redis.admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
      await isBack(directory);
      expect(await held(directory, chain(1, 5))).toEqual([['a', 5]]);
    }
  });

  it('knows scripts again after the server has forgotten them', async () => {
    const redis = await server();
    const directory = open({ urls: [redis.url] }, PATIENT);
    await directory.ready(5_000);
    await resync(directory, life('a'), chain(1, 5));
    await redis.admin.script('FLUSH');
    const keys = chain(1, 5);
    expect(await Promise.all(Array.from({ length: 20 }, () => held(directory, keys)))).toEqual(Array(20).fill([['a', 5]]));
  });

  it('follows the sentinels to another primary', async () => {
    const set = await startSentinelSet();
    ends.push(set.stop);
    const { directory, patient } = await openBoth({ kind: 'sentinel', urls: [set.sentinel.url], sentinelName: set.name });
    const keys = chain(1, 5);
    await resync(patient, life('a'), keys);
    await set.primary.kill();
    expect(['unavailable', 'timeout']).toContain(await fate(directory.lookup(keys)));
    // The connection may break once more when the sentinel tells of its choice. A sentinel that was itself held up for 2 s by a busy
    // machine does nothing for 30 s.
    await until('the replica is used', () => isHeldAfterResync(directory, keys), 60_000);
    expect(await set.replica.admin.exists('sluice:{survival}:lives')).toBe(1);
  });

  it('does without a lost node of a cluster, but for the spaces that it has', async () => {
    const nodes = await startRedisCluster();
    ends.push(async () => {
      await Promise.all(nodes.map((node) => node.stop()));
    });
    for (const node of nodes) await node.admin.config('SET', 'cluster-require-full-coverage', 'no');
    const servers: RedisServers = { kind: 'cluster', urls: nodes.map(({ url }) => url) };
    const spaces = Array.from({ length: 12 }, (_, index) => open(servers, { space: `space${index}`, ...PATIENT }));
    for (const directory of spaces) {
      await directory.ready(5_000);
      await resync(directory, life('a'), chain(1, 5));
    }
    const counts = await Promise.all(nodes.map((node) => node.admin.dbsize()));
    expect(Math.min(...counts), `keys per node: ${counts.join(', ')}`).toBeGreaterThan(0);
    await nodes[2]?.kill();
    const fates = await Promise.all(
      spaces.map((directory) =>
        directory.lookup(chain(1, 5)).then(
          (found) => found.length,
          () => 'lost',
        ),
      ),
    );
    expect(fates).toContain(1);
    expect(fates).toContain('lost');
  });
});
