/** A store in Redis, shared by all instances of one space. */
import { type BackoffPolicy, type Clock, systemClock } from '../../../shared/index.ts';
import { openConnection } from '../../directory/redis/connection.ts';
import { Link } from '../../directory/redis/link.ts';
import { type RedisServers, readSettings } from '../../directory/redis/settings.ts';
import { checkInteger, checkName, checkTtl } from '../../directory/shared/bounds.ts';
import { GroupedStore, type GroupedStoreOptions } from '../grouped.ts';
import type { BlockStore } from '../port.ts';
import { RedisShelf } from './shelf.ts';

export interface RedisStoreOptions extends Omit<GroupedStoreOptions, 'clock'> {
  readonly servers: RedisServers;
  /** Instances of one space share what they store: those of one ServingDeployment. 1 to 200 characters out of letters, digits, `._:@-`. */
  readonly space: string;
  /** Before every key; default `sluice:`. No braces, at most 100 printable characters. */
  readonly prefix?: string;
  /** Bytes of all values at most. The server's own maxmemory should be above. */
  readonly capacityBytes: number;
  /** Share of the capacity that one tenant may have, more than 0 to 1. Default 1. */
  readonly tenantShare?: number;
  /** Of a value that nobody asks for; default 1 h, at most a day. */
  readonly ttlMs?: number;
  /** Of every call; default 2 s. */
  readonly budgetMs?: number;
  readonly connectMs?: number;
  readonly stallMs?: number;
  readonly backoff?: BackoffPolicy;
  readonly clock?: Clock;
  readonly random?: () => number;
}

const BACKOFF: BackoffPolicy = { firstMs: 50, maxMs: 2_000, factor: 2 };
const HOUR_MS = 3_600_000;

/**
 * Connects in the background and again after every loss; meanwhile nothing is found and nothing is kept.
 * @throws RangeError naming the option that is wrong.
 */
export function redisStore(options: RedisStoreOptions): BlockStore {
  const { prefix = 'sluice:', space, capacityBytes, tenantShare = 1, ttlMs = HOUR_MS, budgetMs = 2_000, clock = systemClock } = options;
  if (!/^[\x21-\x7a|~]{0,100}$/.test(prefix)) {
    throw new RangeError(`prefix: expected at most 100 printable characters without blanks and braces, got ${JSON.stringify(prefix)}`);
  }
  checkName('space', space);
  checkTtl(ttlMs, 'ttlMs', 24 * HOUR_MS);
  checkTtl(budgetMs, 'budgetMs');
  checkInteger('capacityBytes', capacityBytes, 2 ** 46);
  if (!(tenantShare > 0 && tenantShare <= 1)) throw new RangeError(`tenantShare: expected more than 0 and at most 1, got ${tenantShare}`);
  const settings = readSettings(options.servers);
  const { shown, tls, kind } = settings;
  const place = { shown, prefix: `${prefix}{${space}}:`, usesTls: tls !== null, isCluster: kind === 'cluster' };
  const connection = openConnection(settings, {
    connectMs: options.connectMs ?? 2_000,
    stallMs: options.stallMs ?? 5_000,
    backoff: options.backoff ?? BACKOFF,
    random: options.random ?? Math.random,
  });
  const link = new Link(connection, { clock, budgetMs, maxPending: 64, place });
  const shelf = new RedisShelf(link, {
    place: settings.shown,
    prefix: `${place.prefix}store:`,
    capacityBytes,
    tenantBytes: Math.floor(capacityBytes * tenantShare),
    ttlMs,
  });
  return new GroupedStore(shelf, { ...options, clock });
}
