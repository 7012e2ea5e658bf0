/** `--kv`: the Redis and the NATS that instances and routers of a deployment share. Reads what is hidden, opens what is named. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Credentials, NatsSpec, RedisSpec } from '../api/index.ts';
import type { RedisDirectory, RedisServers } from '../kv/directory/redis/index.ts';
import type { NatsServers } from '../kv/events/nats/index.ts';
import type { EventBus } from '../kv/index.ts';

/** As the controller writes it. */
export interface KvSettings {
  readonly space: string;
  readonly redis: RedisSpec | null;
  readonly nats: NatsSpec | null;
}

export interface KvServers {
  readonly directory: RedisDirectory | null;
  readonly bus: EventBus | null;
  close(): Promise<void>;
}

export type Env = Readonly<Record<string, string | undefined>>;

/** What `--kv` may hold, by the name of what holds it. */
const FIELDS = {
  redis: { kind: true, urls: true, sentinelName: true, credentials: true, servername: true, prefix: true, budgetMs: true },
  nats: { urls: true, credentials: true, prefix: true, maxBytes: true, maxAgeMs: true, replicas: true },
  credentials: { secret: true, folder: true, env: true },
} as const satisfies {
  redis: Record<keyof RedisSpec, true>;
  nats: Record<keyof NatsSpec, true>;
  credentials: Record<keyof Credentials, true>;
};

const MAX_FILE_BYTES = 256 * 1024;

/** @throws RangeError when it is no such JSON */
export function readKvSettings(text: string): KvSettings {
  const wrong = 'must be JSON of space, and redis or nats or both, as docs/kv-events.md shows it';
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    // What it holds may be secret.
    throw new RangeError(`${wrong}; got what is no JSON`);
  }
  if (!isRecord(parsed) || typeof parsed['space'] !== 'string') throw new RangeError(`${wrong}; got no space`);
  const { space, redis = null, nats = null, ...rest } = parsed;
  const unknown = [...Object.keys(rest), ...strangers(redis, 'redis'), ...strangers(nats, 'nats')];
  if (unknown.length > 0) throw new RangeError(`${wrong}; got ${unknown.join(', ')}`);
  if (!isServer(redis) || !isServer(nats) || (redis === null && nats === null)) throw new RangeError(`${wrong}; got a server without urls`);
  return { space, redis: redis as RedisSpec | null, nats: nats as NatsSpec | null };
}

/**
 * Connects in the background. What is not named is not loaded.
 * @param budgetMs of each call to Redis; null = as the settings have it for requests
 * @throws RangeError naming the field that is wrong, or whose hidden text cannot be read
 */
export async function openKvServers(settings: KvSettings, env: Env, budgetMs: number | null = null): Promise<KvServers> {
  const { space } = settings;
  const directory = settings.redis === null ? null : await openRedis(settings.redis, { space, env, budgetMs });
  let bus: EventBus | null = null;
  try {
    bus = settings.nats === null ? null : await openNats(settings.nats, { space, env });
  } catch (error) {
    await directory?.close();
    throw error;
  }
  return {
    directory,
    bus,
    close: async () => {
      await Promise.all([directory?.close(), bus?.close()]);
    },
  };
}

interface Opening {
  readonly space: string;
  readonly env: Env;
  readonly budgetMs?: number | null;
}

async function openRedis(redis: RedisSpec, { space, env, budgetMs = null }: Opening): Promise<RedisDirectory> {
  const { kind, urls, sentinelName, prefix, servername } = redis;
  const { username, password, sentinelPassword, ca, cert, key } = await revealed(redis.credentials, 'kv.redis.credentials', env);
  const tls = urls[0]?.startsWith('rediss:') ? withoutAbsent({ ca, cert, key, servername }) : undefined;
  const sentinel = kind === 'sentinel' ? { sentinelName, sentinelPassword } : { sentinelName };
  const servers: RedisServers = withoutAbsent({ kind, urls, username, password, tls, ...sentinel });
  const { redisDirectory } = await import('../kv/directory/redis/index.ts');
  return named('kv.redis', () => redisDirectory({ servers, space, prefix, budgetMs: budgetMs ?? redis.budgetMs }));
}

async function openNats(nats: NatsSpec, { space, env }: Opening): Promise<EventBus> {
  const { urls, prefix, maxBytes, maxAgeMs, replicas } = nats;
  const { username, password, token, credentials, ca, cert, key } = await revealed(nats.credentials, 'kv.nats.credentials', env);
  const tls = urls[0]?.startsWith('tls:') ? withoutAbsent({ ca, cert, key }) : undefined;
  const servers: NatsServers = withoutAbsent({ urls, username, password, token, credentials, tls });
  const { natsEventBus } = await import('../kv/events/nats/index.ts');
  return named('kv.nats', () => natsEventBus({ servers, space, prefix, maxBytes, maxAgeMs, replicas }));
}

/** What may be hidden: the name of the file, or of the key of a Secret, and how the name of the variable ends. */
const HIDDEN = {
  username: ['username', 'USERNAME'],
  password: ['password', 'PASSWORD'],
  sentinelPassword: ['sentinel-password', 'SENTINEL_PASSWORD'],
  token: ['token', 'TOKEN'],
  credentials: ['nats.creds', 'CREDENTIALS'],
  ca: ['ca.crt', 'CA'],
  cert: ['tls.crt', 'CERT'],
  key: ['tls.key', 'KEY'],
} as const satisfies Record<string, readonly [string, string]>;

type Hidden = { -readonly [name in keyof typeof HIDDEN]?: string };

/** @throws RangeError when there is nothing of it, or it cannot be read */
async function revealed(credentials: Credentials | undefined, field: string, env: Env): Promise<Hidden> {
  if (credentials === undefined) return {};
  const { secret, folder, env: prefix } = credentials;
  if (secret !== undefined) throw new RangeError(`${field}.secret: there are Secrets only on Kubernetes: use folder or env`);
  const found: Hidden = {};
  for (const [name, [file, end]] of Object.entries(HIDDEN) as [keyof Hidden, readonly [string, string]][]) {
    const word = folder === undefined ? env[`${prefix}_${end}`] : await wordIn(join(folder, file), `${field}.folder`);
    if (word) found[name] = word;
  }
  if (Object.keys(found).length > 0) return found;
  const [where, expected] =
    folder === undefined
      ? [`env: ${prefix}`, Object.values(HIDDEN).map(([, end]) => `${prefix}_${end}`)]
      : [`folder: ${folder}`, Object.values(HIDDEN).map(([file]) => file)];
  throw new RangeError(`${field}.${where} has nothing of what is looked for: expected at least one of ${expected.join(', ')}`);
}

/** Null when there is no such file. A line end at its end does not count. */
async function wordIn(path: string, field: string): Promise<string | null> {
  try {
    const { size } = await stat(path);
    if (size > MAX_FILE_BYTES) throw new RangeError(`${field}: expected at most ${MAX_FILE_BYTES} bytes in ${path}, got ${size}`);
    return (await readFile(path, 'utf8')).replace(/\r?\n$/, '');
  } catch (error) {
    if (error instanceof RangeError) throw error;
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'it cannot be read';
    if (code === 'ENOENT') return null;
    throw new RangeError(`${field}: expected files that can be read, got ${path} (${code})`);
  }
}

/** Errors of the adapters name their own option. */
function named<T>(field: string, open: () => T): T {
  try {
    return open();
  } catch (error) {
    if (error instanceof RangeError) throw new RangeError(`${field}.${error.message}`);
    throw error;
  }
}

type Present<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

function withoutAbsent<T extends object>(fields: T): Present<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Present<T>;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Fields that nobody would read, those of the credentials too. */
function strangers(value: unknown, where: 'redis' | 'nats'): string[] {
  const of = (block: unknown, known: object, path: string) =>
    isRecord(block) ? Object.keys(block).flatMap((field) => (Object.hasOwn(known, field) ? [] : [`${path}.${field}`])) : [];
  const credentials = isRecord(value) ? value['credentials'] : null;
  return [...of(value, FIELDS[where], where), ...of(credentials, FIELDS.credentials, `${where}.credentials`)];
}

function isServer(value: unknown): boolean {
  return value === null || (isRecord(value) && Array.isArray(value['urls']));
}
