/**
 * How the shared directory in Redis is reached, as a user writes it, into what the client library takes. Every mistake is named with field
 * and value; a password is shown nowhere.
 */
import type { ConnectionOptions as TlsOptions } from 'node:tls';

export interface RedisServers {
  /**
   * `redis://host:port/db`, `rediss://…` for TLS, `unix:///path/of.sock`. One for a single server; for a cluster or sentinels as many as are
   * known, alike but for host and port. User and password may be in the first one.
   */
  readonly urls: readonly string[];
  readonly kind?: 'single' | 'sentinel' | 'cluster';
  /** Of the primary that the sentinels watch. */
  readonly sentinelName?: string;
  readonly sentinelUsername?: string;
  readonly sentinelPassword?: string;
  readonly username?: string;
  readonly password?: string;
  readonly tls?: RedisTls;
}

/** PEM texts. */
export interface RedisTls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** The name that the server's certificate must hold; default the host. */
  readonly servername?: string;
}

/** What a connection is made with. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface Settings {
  readonly kind: 'single' | 'sentinel' | 'cluster';
  /** Empty for a Unix socket. */
  readonly addresses: readonly Address[];
  readonly path: string | null;
  readonly db: number;
  readonly username: string | null;
  readonly password: string | null;
  readonly tls: TlsOptions | null;
  readonly sentinel: { readonly name: string; readonly username: string | null; readonly password: string | null } | null;
  /** For errors: without user and password. */
  readonly shown: string;
}

const DEFAULT_PORTS = { single: 6379, cluster: 6379, sentinel: 26379 } as const;
const MAX_URLS = 64;

interface ParsedUrl {
  readonly url: URL;
  readonly field: string;
  readonly shown: string;
}

/** @throws RangeError naming field and value. */
export function readSettings(servers: RedisServers): Settings {
  const kind = servers.kind ?? 'single';
  const most = kind === 'single' ? 1 : MAX_URLS;
  if (servers.urls.length < 1 || servers.urls.length > most) {
    throw new RangeError(`urls: expected ${kind === 'single' ? 'one for kind single' : `1 to ${most}`}, got ${servers.urls.length}`);
  }
  const parsed = servers.urls.map((text, index) => parseUrl(text, `urls[${index}]`));
  const first = parsed[0] as ParsedUrl;
  const odd = parsed.find(({ url }) => url.protocol !== first.url.protocol);
  if (odd) throw new RangeError(`${odd.field}: expected ${first.url.protocol}// as in urls[0], got ${odd.shown}`);
  const isSocket = first.url.protocol === 'unix:';
  if (isSocket && kind !== 'single')
    throw new RangeError(`${first.field}: expected redis:// or rediss:// for kind ${kind}, got ${first.shown}`);
  const isTls = first.url.protocol === 'rediss:';
  if (servers.tls && !isTls) throw new RangeError(`tls: given, but ${first.field} is ${first.shown}: expected rediss://`);
  return {
    kind,
    addresses: isSocket ? [] : parsed.map((one) => addressOf(one, DEFAULT_PORTS[kind])),
    path: isSocket ? decodeURIComponent(first.url.pathname) : null,
    db: isSocket ? 0 : dbOf(first, kind),
    username: servers.username ?? (decodeURIComponent(first.url.username) || null),
    password: servers.password ?? (decodeURIComponent(first.url.password) || null),
    tls: isTls ? { ...servers.tls } : null,
    sentinel: sentinelOf(servers, kind),
    shown: parsed.map(({ shown }) => shown).join(', '),
  };
}

function parseUrl(text: string, field: string): ParsedUrl {
  const expected = 'expected redis://host:port/db, rediss://host:port/db or unix:///path';
  if (!URL.canParse(text)) throw new RangeError(`${field}: ${expected}, got what is no URL`);
  const url = new URL(text);
  const shown = `${url.protocol}//${url.host}${url.pathname}`;
  const isSocket = url.protocol === 'unix:';
  // What follows a word that is no scheme may be a password.
  if (!['redis:', 'rediss:', 'unix:'].includes(url.protocol)) throw new RangeError(`${field}: ${expected}, got the scheme ${url.protocol}`);
  if (isSocket ? url.host !== '' || url.pathname.length < 2 : url.hostname === '')
    throw new RangeError(`${field}: ${expected}, got ${shown}`);
  if (url.search !== '' || url.hash !== '') throw new RangeError(`${field}: expected nothing after the path, got ${url.search}${url.hash}`);
  return { url, field, shown };
}

function addressOf({ url }: ParsedUrl, port: number): Address {
  return { host: url.hostname.replace(/^\[(.*)\]$/, '$1'), port: url.port === '' ? port : Number(url.port) };
}

function dbOf({ url, field, shown }: ParsedUrl, kind: Settings['kind']): number {
  const text = url.pathname.replace(/^\//, '');
  if (text === '') return 0;
  if (!/^\d{1,5}$/.test(text)) throw new RangeError(`${field}: expected the number of a database after the port, got ${shown}`);
  if (kind === 'cluster' && text !== '0') throw new RangeError(`${field}: a cluster has database 0 alone, got ${text}`);
  return Number(text);
}

function sentinelOf(servers: RedisServers, kind: Settings['kind']): Settings['sentinel'] {
  const { sentinelName, sentinelUsername = null, sentinelPassword = null } = servers;
  if (kind !== 'sentinel') {
    if (sentinelName !== undefined) throw new RangeError(`sentinelName: given for kind ${kind}, expected kind sentinel`);
    return null;
  }
  if (!sentinelName) throw new RangeError('sentinelName: missing, expected the name of the primary that the sentinels watch');
  return { name: sentinelName, username: sentinelUsername, password: sentinelPassword };
}
