/** Real Redis servers: single, with replicas and a sentinel, as a cluster. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { freePort } from '../ports.ts';
import { delay, serverFolder, startServer, type TestServer, until } from './server.ts';

const SLOTS = 16_384;
const ANSWER_MS = 2_000;

export interface RedisServer extends TestServer {
  /** 0 for one that only has a Unix socket. */
  readonly port: number;
  readonly url: string;
  /** An administrator's connection, apart from the tested ones. */
  readonly admin: Redis;
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
  const folder = serverFolder();
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
  const pong = () =>
    admin.ping().then(
      () => true,
      () => false,
    );
  const server = await startServer({
    program: 'redis-server',
    args: [conf, ...(options.sentinel ? ['--sentinel'] : [])],
    folder,
    answers: () => Promise.race([pong(), delay(ANSWER_MS).then(() => false)]),
    leave: () => admin.disconnect(),
  });
  return Object.assign(server, { port, url: options.socket ? `unix://${socket}` : `redis://127.0.0.1:${port}`, admin });
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
