/** Where requests for an instance go: its own address, or that of the engine that it describes. */
import type { Clock } from '../../shared/index.ts';
import { Pool } from '../upstream/index.ts';

export interface Endpoint {
  /** `http://host:port`. */
  readonly url: string;
  /** `host:port` for the Host header. */
  readonly host: string;
  readonly pool: Pool;
}

const CONNECT_TIMEOUT_MS = 1_000;
const MAX_CONNECTIONS = 8_192;
const MAX_IDLE = 256;

/** @param url `http://host:port`, checked by the caller */
export function openEndpoint(url: string, clock: Clock): Endpoint {
  const { hostname, port, host } = new URL(url);
  const limits = { connectTimeoutMs: CONNECT_TIMEOUT_MS, maxConnections: MAX_CONNECTIONS, maxIdle: MAX_IDLE };
  return { url, host, pool: new Pool({ host: hostname, port: Number(port || 80), clock, ...limits }) };
}

/** `http://host:port` of what an engine says of itself; null when it is no such address. */
export function originOf(url: string): string | null {
  const parsed = URL.parse(url);
  return parsed !== null && parsed.protocol === 'http:' && parsed.pathname === '/' && parsed.username === '' ? parsed.origin : null;
}
