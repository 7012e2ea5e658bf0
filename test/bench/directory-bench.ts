/**
 * The directory bench: blocks per second of the shared directory in Redis, against one pipeline of plain commands that moves the same keys
 * and values by the same client over the same Unix socket. The baseline is the speed of Redis and the client; what ours does beyond it
 * (holders, epochs, order, leases) costs what the ratio says.
 */
import { Redis } from 'ioredis';
import { redisDirectory } from '../../src/kv/directory/redis/index.ts';
import type { SharedDirectory } from '../../src/kv/index.ts';
import { findServer, installServer } from '../servers/programs.ts';
import { type RedisServer, startRedis } from '../servers/redis.ts';
import { describeMachine } from './machine.ts';
import type { BenchOptions } from './options.ts';
import type { Progress } from './progress.ts';
import { compare, rotate, type Sample } from './ratio.ts';
import type { Report } from './report.ts';

const SIZES = [16, 512] as const;
/** Instances that hold every chain that is looked up. */
const HOLDERS = 4;
const CHAINS = 64;
const BLOCK_BYTES = 2 ** 20;
const TTL_MS = 3_600_000;
/** Records as long as ours: version, and 11 bytes per holder. */
const VALUE = (holders: number) => `S1${'x'.repeat(11 * holders)}`;
const MEASURED_MS = 500;
const BUSY_CALLS = 8;
const OURS = 'sluice';
const BASELINE = 'pipeline';

/** Carries out call number `call` for `keys`. */
type Act = (keys: readonly string[], call: number) => Promise<void>;

interface Contender {
  readonly name: string;
  readonly lookup: Act;
  readonly publish: Act;
  readonly withdraw: Act;
}

export async function benchDirectory(options: BenchOptions, progress: Progress): Promise<Report> {
  const failure = installServer('redis-server');
  if (failure !== null) throw new Error(failure);
  const server = await startRedis({ socket: true });
  const client = new Redis({ path: server.url.replace('unix://', ''), protocol: 2 });
  const directory = redisDirectory({ servers: { urls: [server.url] }, space: 'bench', budgetMs: 10_000, maxPending: 1024 });
  try {
    await directory.ready(10_000);
    const samples: Sample[] = [];
    // The first round is for the compiler.
    for (let repeat = -1; repeat < options.runs; repeat += 1) {
      progress.step(repeat < 0 ? 'warming up' : `run ${repeat + 1}/${options.runs}`);
      for (const size of SIZES) samples.push(...(await measureSize({ server, client, directory }, size, [repeat, options.seconds])));
    }
    return reportOf(samples, options.runs, await versionOf(client));
  } finally {
    client.disconnect();
    await directory.close();
    await server.stop();
  }
}

interface Bed {
  readonly server: RedisServer;
  readonly client: Redis;
  readonly directory: SharedDirectory;
}

async function measureSize(
  { server, client, directory }: Bed,
  size: number,
  [repeat, seconds]: readonly [number, number | null],
): Promise<Sample[]> {
  const limitMs = repeat < 0 ? MEASURED_MS / 2 : seconds === null ? MEASURED_MS : seconds * 1000;
  const samples: Sample[] = [];
  const add = (contender: string, metric: string, value: number) => {
    if (repeat >= 0) samples.push({ repeat, contender, metric: `${metric}.${size}`, value });
  };
  const chains = Array.from({ length: CHAINS }, (_, chain) => keysOf(chain, size));
  await server.admin.flushall();
  const contenders = rotate([await oursOn(directory, chains), await plainOn(client, chains)], Math.max(0, repeat));
  for (const { name, lookup } of contenders) add(name, 'lookup', await blocksPerSecond(lookup, chains, { limitMs, atOnce: 1 }));
  for (const { name, lookup } of contenders)
    add(name, 'lookup.busy', await blocksPerSecond(lookup, chains, { limitMs, atOnce: BUSY_CALLS }));
  for (const { name, publish, withdraw } of contenders) {
    const fresh = Array.from({ length: Math.ceil(16_384 / size) }, (_, chain) => keysOf(1_000 + chain, size));
    const times = { publish: 0, republish: 0, withdraw: 0 };
    let blocks = 0;
    const start = performance.now();
    while (performance.now() - start < 2 * limitMs) {
      times.publish += await timeOf(publish, fresh);
      times.republish += await timeOf(publish, fresh);
      times.withdraw += await timeOf(withdraw, fresh);
      blocks += fresh.length * size;
    }
    for (const [metric, ms] of Object.entries(times)) add(name, metric, (blocks * 1000) / ms);
  }
  return samples;
}

/** One call after the other over all chains. */
async function timeOf(act: Act, chains: readonly (readonly string[])[]): Promise<number> {
  const start = performance.now();
  for (const [call, keys] of chains.entries()) await act(keys, call);
  return performance.now() - start;
}

async function blocksPerSecond(
  act: Act,
  chains: readonly (readonly string[])[],
  how: { limitMs: number; atOnce: number },
): Promise<number> {
  const start = performance.now();
  let blocks = 0;
  let call = 0;
  while (performance.now() - start < how.limitMs) {
    const some = Array.from({ length: how.atOnce }, (_, index) => chains[(call + index) % chains.length] ?? []);
    await Promise.all(some.map((keys, index) => act(keys, call + index)));
    call += how.atOnce;
    blocks += some.reduce((sum, keys) => sum + keys.length, 0);
  }
  return (blocks * 1000) / (performance.now() - start);
}

async function oursOn(directory: SharedDirectory, chains: readonly (readonly string[])[]): Promise<Contender> {
  for (let holder = 0; holder < HOLDERS; holder += 1) {
    const life = { instance: `holder-${holder}`, incarnation: '1' };
    await directory.join(life, TTL_MS);
    for (const [index, keys] of chains.entries()) {
      expectWord(await directory.publish(life, { seq: index + 1, tier: 'hbm', keys, blockBytes: BLOCK_BYTES }), 'applied');
    }
  }
  const writer = { instance: 'writer', incarnation: '1' };
  await directory.join(writer, TTL_MS);
  let seq = 0;
  const change = (keys: readonly string[]) => {
    seq += 1;
    return { seq, tier: 'hbm', keys, blockBytes: BLOCK_BYTES } as const;
  };
  return {
    name: OURS,
    lookup: async (keys) => {
      const matches = await directory.lookup(keys);
      if (matches.length !== HOLDERS || matches.some(({ held }) => held !== keys.length)) throw new Error('a look-up found too little');
    },
    publish: async (keys) => expectWord(await directory.publish(writer, change(keys)), 'applied'),
    withdraw: async (keys) => expectWord((await directory.withdraw(writer, change(keys))).outcome, 'applied'),
  };
}

async function plainOn(client: Redis, chains: readonly (readonly string[])[]): Promise<Contender> {
  const name = (key: string) => `plain:{bench}:b:${key}`;
  const run = async (pipeline: ReturnType<Redis['pipeline']>, expected: number) => {
    const replies = await pipeline.exec();
    if (replies?.length !== expected || replies.some(([error, value]) => error !== null || value === null))
      throw new Error('a command failed');
  };
  const set = (keys: readonly string[], value: string) => {
    const pipeline = client.pipeline();
    for (const key of keys) pipeline.set(name(key), value, 'PX', TTL_MS);
    return run(pipeline, keys.length);
  };
  for (const keys of chains) await set(keys, VALUE(HOLDERS));
  return {
    name: BASELINE,
    lookup: (keys) => {
      const pipeline = client.pipeline();
      for (const key of keys) pipeline.get(name(key));
      return run(pipeline, keys.length);
    },
    publish: (keys) => set(keys, VALUE(1)),
    withdraw: (keys) => {
      const pipeline = client.pipeline();
      for (const key of keys) pipeline.del(name(key));
      return run(pipeline, keys.length);
    },
  };
}

function keysOf(chain: number, length: number): string[] {
  return Array.from({ length }, (_, index) =>
    (BigInt(chain + 1) * 0x9e3779b97f4a7c15n + BigInt(index)).toString(16).padStart(32, '0').slice(-32),
  );
}

function expectWord(word: string, expected: string): void {
  if (word !== expected) throw new Error(`the directory answered ${word}, expected ${expected}`);
}

async function versionOf(client: Redis): Promise<string> {
  return /redis_version:(\S+)/.exec(await client.info('server'))?.[1] ?? 'unknown';
}

function reportOf(samples: readonly Sample[], runs: number, version: string): Report {
  const { ratio, absolute, omitted } = compare(samples, OURS);
  return {
    name: 'directory',
    ratio,
    baseline: { [BASELINE]: `Redis ${version} at ${findServer('redis-server') ?? 'nowhere'}, plain commands in one pipeline by ioredis` },
    runs,
    machine: describeMachine(),
    absolute,
    units: Object.fromEntries(samples.map(({ metric }) => [metric, 'blocks/s'])),
    notes: [
      `look-ups: ${CHAINS} chains that ${HOLDERS} instances hold; publish: new blocks; republish: the same again; withdraw: all of them`,
      ...omitted,
    ],
  };
}
