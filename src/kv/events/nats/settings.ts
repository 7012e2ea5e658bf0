/** How NATS is reached, as a user writes it, into what the client library takes. Every mistake is named with field and value; a password is shown nowhere. Pure. */
import type { TlsOptions } from 'nats';

export interface NatsServers {
  /** `nats://host:port`, or `tls://host:port`; as many as are known, all of one cluster. User and password, or a token, may be in the first one. */
  readonly urls: readonly string[];
  readonly username?: string;
  readonly password?: string;
  readonly token?: string;
  /** Content of a `.creds` file. */
  readonly credentials?: string;
  readonly tls?: NatsTls;
}

/** PEM texts. */
export interface NatsTls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

export interface NatsSettings {
  /** `host:port`. */
  readonly servers: readonly string[];
  readonly username: string | null;
  readonly password: string | null;
  readonly token: string | null;
  readonly credentials: string | null;
  readonly tls: TlsOptions | null;
  /** For errors: without user, password and token. */
  readonly shown: string;
}

const DEFAULT_PORT = '4222';
const MAX_URLS = 64;

interface ParsedUrl {
  readonly url: URL;
  readonly field: string;
  readonly shown: string;
}

/** @throws RangeError naming field and value */
export function readNatsSettings(servers: NatsServers): NatsSettings {
  if (servers.urls.length < 1 || servers.urls.length > MAX_URLS)
    throw new RangeError(`urls: expected 1 to ${MAX_URLS}, got ${servers.urls.length}`);
  const parsed = servers.urls.map((text, index) => parseUrl(text, `urls[${index}]`));
  const first = parsed[0] as ParsedUrl;
  const odd = parsed.find(({ url }) => url.protocol !== first.url.protocol);
  if (odd) throw new RangeError(`${odd.field}: expected ${first.url.protocol}// as in urls[0], got ${odd.shown}`);
  const isTls = first.url.protocol === 'tls:';
  if (servers.tls && !isTls) throw new RangeError(`tls: given, but ${first.field} is ${first.shown}: expected tls://`);
  const user = decodeURIComponent(first.url.username) || null;
  const word = decodeURIComponent(first.url.password) || null;
  const ways = [servers.username ?? user, servers.token, servers.credentials].filter((way) => way !== undefined && way !== null);
  if (ways.length > 1) throw new RangeError('username, token, credentials: expected one of them, got several');
  return {
    servers: parsed.map(({ url }) => `${url.hostname}:${url.port || DEFAULT_PORT}`),
    // A URL with one word before the @ gives a token.
    username: servers.username ?? (word === null ? null : user),
    password: servers.password ?? word,
    token: servers.token ?? (word === null && servers.username === undefined ? user : null),
    credentials: servers.credentials ?? null,
    tls: isTls ? { ...servers.tls } : null,
    shown: parsed.map(({ shown }) => shown).join(', '),
  };
}

function parseUrl(text: string, field: string): ParsedUrl {
  const expected = 'expected nats://host:port or tls://host:port';
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null) throw new RangeError(`${field}: ${expected}, got what is no URL`);
  // What follows a word that is no scheme may be a password.
  if (url.protocol !== 'nats:' && url.protocol !== 'tls:') throw new RangeError(`${field}: ${expected}, got the scheme ${url.protocol}`);
  const shown = `${url.protocol}//${url.host}`;
  if (url.hostname === '') throw new RangeError(`${field}: ${expected}, got ${shown}`);
  if ((url.pathname !== '' && url.pathname !== '/') || url.search !== '' || url.hash !== '')
    throw new RangeError(`${field}: expected nothing after host and port, got ${url.pathname}${url.search}${url.hash}`);
  return { url, field, shown };
}
