/** Real Redis servers: single, with replicas and a sentinel, as a cluster. Each in a folder of its own, ended by process id. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { type RunningProgram, startProgram } from '../cluster/program.ts';
import { freePort } from '../ports.ts';
import { requireServer } from './programs.ts';

const UP_MS = 10_000;
const SLOTS = 16_384;

export interface RedisServer {
  /** 0 for one that only has a Unix socket. */
  readonly port: number;
  readonly url: string;
  readonly pid: number;
  /** An administrator's connection, apart from the tested ones. */
  readonly admin: Redis;
  /** SIGSTOP and SIGCONT. */
  readonly signal: (signal: NodeJS.Signals) => void;
  /** SIGKILL; what was in memory is lost. */
  readonly kill: () => Promise<void>;
  /** The same address again, empty. */
  readonly restart: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

export interface RedisServerOptions {
  readonly socket?: boolean;
  /** Settings of redis.conf, as of the command line. */
  readonly settings?: Readonly<Record<string, string | number>>;
  /** Lines for redis.conf that have no form on the command line, for example ACL users. */
  readonly conf?: readonly string[];
  readonly sentinel?: boolean;
  /** How the administrator logs in. */
  readonly admin?: {
    readonly password?: string;
    readonly username?: string;
    readonly tls?: { readonly ca: string };
    readonly port?: number;
  };
}

export async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-redis-'));
  const socket = join(folder, 'redis.sock');
  const port = options.socket ? 0 : await freePort();
  const conf = join(folder, 'redis.conf');
  const settings: Record<string, string | number> = {
    port,
    ...(options.socket ? { unixsocket: socket } : { bind: '127.0.0.1' }),
    dir: folder,
    ...(options.sentinel ? {} : { save: '""', appendonly: 'no' }),
    ...options.settings,
  };
  writeFileSync(conf, [...Object.entries(settings).map(([name, value]) => `${name} ${value}`), ...(options.conf ?? []), ''].join('\n'));
  const start = () => startProgram(requireServer('redis-server'), [conf, ...(options.sentinel ? ['--sentinel'] : [])], join(folder, 'log'));
  let program: RunningProgram = start();
  const admin = new Redis({
    ...(options.socket ? { path: socket } : { host: '127.0.0.1', port: options.admin?.port ?? port }),
    ...options.admin,
    port: options.admin?.port ?? port,
    protocol: 2,
    lazyConnect: true,
    retryStrategy: () => 25,
    maxRetriesPerRequest: null,
  });
  // What it meets while the server is away is what tests bring about.
  admin.on('error', () => {});
  const up = async () => {
    const pong = await Promise.race([admin.ping(), delay(UP_MS).then(() => null)]);
    if (pong === null) throw new Error(`redis-server did not answer within ${UP_MS} ms: ${program.lastWords()}`);
  };
  const stop = async () => {
    admin.disconnect();
    await program.kill();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await up();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    port,
    url: options.socket ? `unix://${socket}` : `redis://127.0.0.1:${port}`,
    get pid() {
      return program.pid;
    },
    admin,
    signal: (signal) => program.signal(signal),
    kill: () => program.kill(),
    async restart() {
      await program.kill();
      program = start();
      await up();
    },
    stop,
  };
}

/** One that may be of a cluster, without slots yet. */
export async function startRedisNode(settings: Readonly<Record<string, string | number>> = {}): Promise<RedisServer> {
  // The bus's default port, 10000 above, may not be a port.
  const bus = { 'cluster-port': await freePort(), 'cluster-node-timeout': 2000 };
  // One that met no other does not know its address.
  const cluster = { 'cluster-enabled': 'yes', 'cluster-announce-ip': '127.0.0.1', ...bus };
  return startRedis({ settings: { ...cluster, ...settings } });
}

/** Three primaries that share the slots. */
export async function startRedisCluster(): Promise<readonly RedisServer[]> {
  const nodes: RedisServer[] = [];
  try {
    for (let node = 0; node < 3; node += 1) {
      nodes.push(await startRedisNode());
    }
    const share = Math.ceil(SLOTS / nodes.length);
    for (const [index, node] of nodes.entries()) {
      await node.admin.call('CLUSTER', 'ADDSLOTSRANGE', index * share, Math.min(SLOTS, (index + 1) * share) - 1);
      const bus = await nodes[0]?.admin.call('CONFIG', 'GET', 'cluster-port');
      const busPort = Array.isArray(bus) ? Number(bus[1]) : 0;
      if (index > 0) await node.admin.call('CLUSTER', 'MEET', '127.0.0.1', nodes[0]?.port ?? 0, busPort);
    }
    await Promise.all(
      nodes.map((node) => until('cluster_state ok', async () => isWhole(String(await node.admin.call('CLUSTER', 'INFO'))))),
    );
    return nodes;
  } catch (error) {
    await Promise.all(nodes.map((node) => node.stop()));
    throw error;
  }
}

function isWhole(info: string): boolean {
  return info.includes('cluster_state:ok') && info.includes('cluster_known_nodes:3') && info.includes(`cluster_slots_ok:${SLOTS}`);
}

export interface SentinelSet {
  readonly name: string;
  readonly sentinel: RedisServer;
  readonly primary: RedisServer;
  readonly replica: RedisServer;
  readonly stop: () => Promise<void>;
}

/** A primary with one replica, and one sentinel that fails over within about a second. */
export async function startSentinelSet(): Promise<SentinelSet> {
  const started: RedisServer[] = [];
  const stop = async () => {
    await Promise.all(started.map((server) => server.stop()));
  };
  const start = async (options: RedisServerOptions) => {
    const server = await startRedis(options);
    started.push(server);
    return server;
  };
  try {
    const quick = { 'repl-diskless-sync-delay': 0 };
    const primary = await start({ settings: quick });
    const replica = await start({ settings: { ...quick, replicaof: `127.0.0.1 ${primary.port}` } });
    await until('replica in sync', async () => (await replica.admin.info('replication')).includes('master_link_status:up'));
    const sentinel = await start({
      sentinel: true,
      conf: [
        `sentinel monitor main 127.0.0.1 ${primary.port} 1`,
        'sentinel down-after-milliseconds main 500',
        'sentinel failover-timeout main 2000',
      ],
    });
    await until('the sentinel takes the replica for a good one', async () => {
      return /master-link-status,ok/.test(String(await sentinel.admin.call('SENTINEL', 'REPLICAS', 'main')));
    });
    return { name: 'main', sentinel, primary, replica, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** A folder for what a server needs besides, for example certificates. */
export function serverFolder(): string {
  return mkdtempSync(join(tmpdir(), 'sluice-server-'));
}

/** Asks again until it holds; throws when it does not within `limitMs`. */
export async function until(what: string, holds: () => Promise<boolean>, limitMs = UP_MS): Promise<void> {
  const end = performance.now() + limitMs;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`${what}: not within ${limitMs} ms`);
    await delay(10);
  }
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}
