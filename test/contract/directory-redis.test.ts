/** The contract on real Redis: a single one over a Unix socket, one over TCP with an ACL user, a cluster of three. */
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe } from 'vitest';
import { type RedisServers, redisDirectory } from '../../src/kv/directory/redis/index.ts';
import { findServer } from '../servers/programs.ts';
import { type RedisServer, startRedis, startRedisCluster } from '../servers/redis.ts';
import { type OpenEmpty, sharedDirectoryContract } from './directory-contract.ts';
import { directoryHistories } from './directory-histories.ts';
import { SKEW_MS, skewed } from './skewed.ts';

/** The machine that tests run on is busy; budgets have tests of their own. */
const BUDGET_MS = 10_000;
/** As docs/kv-directory.md grants them. */
const ACL_USER =
  'user sluice on >pass-of-sluice ~sluice-test:* resetchannels -@all +evalsha +eval +info +time +mget +exists +get +set +del +unlink +hget +hset +hmget +hdel +hgetall +hincrby +pttl +pexpire';

interface Bed {
  readonly servers: RedisServers;
  /** A connection to a server whose clock counts. */
  readonly admin: Redis;
  readonly stop: () => Promise<void>;
}

let spaces = 0;

function openOn(bed: () => Bed): OpenEmpty {
  return async (setup = {}) => {
    const { servers, admin } = bed();
    spaces += 1;
    const make = (ms: number) =>
      redisDirectory({ servers, space: `s${spaces}`, prefix: 'sluice-test:', budgetMs: BUDGET_MS, clock: skewed(ms), ...setup });
    const [directory, other] = [make(SKEW_MS), make(-SKEW_MS)];
    return { directory, other, pass: (ms) => serverPasses(admin, ms) };
  };
}

async function serverPasses(admin: Redis, ms: number): Promise<void> {
  const now = async () => {
    const [seconds = 0, micros = 0] = await admin.time();
    return Number(seconds) * 1000 + Number(micros) / 1000;
  };
  const end = (await now()) + ms;
  while ((await now()) < end) await new Promise((resolve) => setTimeout(resolve, 1));
}

const BEDS: Readonly<Record<string, () => Promise<Bed>>> = {
  'Redis, Unix socket': async () => {
    const server = await startRedis({ socket: true });
    return { servers: { urls: [server.url] }, admin: server.admin, stop: server.stop };
  },
  'Redis, TCP, ACL user': async () => {
    const server = await startRedis({ conf: [ACL_USER] });
    return { servers: { urls: [server.url], username: 'sluice', password: 'pass-of-sluice' }, admin: server.admin, stop: server.stop };
  },
  'Redis, cluster': async () => {
    const nodes = await startRedisCluster();
    const [first] = nodes as readonly [RedisServer];
    const stop = async () => {
      await Promise.all(nodes.map((node) => node.stop()));
    };
    return { servers: { kind: 'cluster', urls: nodes.map(({ url }) => url) }, admin: first.admin, stop };
  },
};

for (const [name, make] of Object.entries(BEDS)) {
  describe.skipIf(findServer('redis-server') === null)(name, () => {
    let bed: Bed;
    beforeAll(async () => {
      bed = await make();
    });
    afterAll(() => bed?.stop());
    const open = openOn(() => bed);
    sharedDirectoryContract(name, open);
    directoryHistories(name, open, 15);
  });
}
