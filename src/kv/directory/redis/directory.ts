/**
 * The shared directory in Redis. All keys of one `space` share a hash tag, so that every command touches one slot of a cluster; a cluster
 * spreads spaces. Layout, under `<prefix>{<space>}:`, each with a time to live:
 *
 *     i:<instance>                      hash    its incarnation, epoch, until, seq, fenced incarnations
 *     lives                             hash    epoch → until, incarnation, instance
 *     counts                            hash    epoch and tier → blocks; epoch and b → bytes
 *     b:<key>                           string  who holds the block: records of epoch, tier, bytes (lua/record.lua)
 *     l:<instance>/<incarnation>        hash    block → its leases
 */
import { randomBytes } from 'node:crypto';
import { type BackoffPolicy, type Clock, systemClock } from '../../../shared/index.ts';
import {
  checkChange,
  checkInteger,
  checkKeys,
  checkLease,
  checkLife,
  checkName,
  checkPublication,
  checkTtl,
  DEFAULT_BLOCK_TTL_MS,
  DEFAULT_MAX_INSTANCES,
  FENCE_MEMORY_MS,
  MAX_INSTANCES,
  MAX_LEASES_PER_BLOCK,
  MAX_TTL_MS,
  TIERS,
} from '../shared/bounds.ts';
import type {
  BlockLease,
  ChangeOutcome,
  FenceOutcome,
  JoinOutcome,
  LeaseRelease,
  LeaseRenewal,
  LeaseResult,
  Life,
  LifeStats,
  Publication,
  RenewOutcome,
  SharedDirectory,
  SharedMatch,
  Withdrawal,
  WithdrawResult,
} from '../shared/port.ts';
import { openConnection } from './connection.ts';
import { Link } from './link.ts';
import { readCount, readLives, readRows, readWord } from './replies.ts';
import { type CommandName, readScripts, type Script } from './scripts.ts';
import { type RedisServers, readSettings } from './settings.ts';

export interface RedisDirectoryOptions {
  readonly servers: RedisServers;
  /** Instances and routers of one space see each other: those of one ServingDeployment. 1 to 200 characters out of letters, digits, `._:@-`. */
  readonly space: string;
  /** Before every key; default `sluice:`. No braces, at most 100 printable characters. */
  readonly prefix?: string;
  /** Of every call; default 5 ms. */
  readonly budgetMs?: number;
  /** Calls that wait or are unanswered at one time; default 1024. */
  readonly maxPending?: number;
  /** Default 1 h. */
  readonly blockTtlMs?: number;
  /** Default 1024, at most 4096. */
  readonly maxInstances?: number;
  /** For one attempt to connect; default 2 s. */
  readonly connectMs?: number;
  /** A connection that owes an answer for so long is made anew; default 5 s. */
  readonly stallMs?: number;
  readonly backoff?: BackoffPolicy;
  readonly clock?: Clock;
  readonly random?: () => number;
  readonly newLeaseId?: () => string;
}

export interface RedisDirectory extends SharedDirectory {
  /**
   * Resolves when a server is connected and judged fit. Calls need not wait for it: each waits within its own budget.
   * @throws DirectoryFault after `withinMs`, or at once when waiting has no sense (password, certificate, version, replica)
   */
  ready(withinMs: number): Promise<void>;
}

const BACKOFF: BackoffPolicy = { firstMs: 50, maxMs: 2_000, factor: 2 };

/**
 * Connects in the background and again after every loss.
 * @throws RangeError naming the option that is wrong.
 */
export function redisDirectory(options: RedisDirectoryOptions): RedisDirectory {
  const { prefix = 'sluice:', space, budgetMs = 5, maxPending = 1024, connectMs = 2_000, stallMs = 5_000 } = options;
  if (!/^[\x21-\x7a|~]{0,100}$/.test(prefix)) {
    throw new RangeError(`prefix: expected at most 100 printable characters without blanks and braces, got ${JSON.stringify(prefix)}`);
  }
  checkName('space', space);
  checkTtl(budgetMs, 'budgetMs');
  checkTtl(connectMs, 'connectMs');
  checkTtl(stallMs, 'stallMs');
  checkInteger('maxPending', maxPending, 1_000_000);
  const settings = readSettings(options.servers);
  const { shown, tls, kind } = settings;
  const place = { shown, prefix: `${prefix}{${space}}:`, usesTls: tls !== null, isCluster: kind === 'cluster' };
  const { blockTtlMs = DEFAULT_BLOCK_TTL_MS, maxInstances = DEFAULT_MAX_INSTANCES } = options;
  checkTtl(blockTtlMs, 'blockTtlMs', 24 * 3_600_000);
  checkInteger('maxInstances', maxInstances, MAX_INSTANCES);
  const connection = openConnection(settings, {
    connectMs,
    stallMs,
    backoff: options.backoff ?? BACKOFF,
    random: options.random ?? Math.random,
  });
  const link = new Link(connection, { clock: options.clock ?? systemClock, budgetMs, maxPending, place });
  const newLeaseId = options.newLeaseId ?? (() => randomBytes(8).toString('hex'));
  return new LinkedDirectory(link, { prefix: place.prefix, blockTtlMs, maxInstances, newLeaseId });
}

interface Terms {
  readonly prefix: string;
  readonly blockTtlMs: number;
  readonly maxInstances: number;
  readonly newLeaseId: () => string;
}

class LinkedDirectory implements RedisDirectory {
  readonly #link: Link;
  readonly #terms: Terms;
  readonly #scripts: Readonly<Record<CommandName, Script>> = readScripts();
  readonly #lives: string;
  readonly #counts: string;

  constructor(link: Link, terms: Terms) {
    this.#link = link;
    this.#terms = terms;
    this.#lives = `${terms.prefix}lives`;
    this.#counts = `${terms.prefix}counts`;
  }

  ready(withinMs: number): Promise<void> {
    return this.#link.ready(withinMs);
  }

  async join(life: Life, ttlMs: number): Promise<JoinOutcome> {
    checkLife(life);
    checkTtl(ttlMs);
    const args = [life.instance, life.incarnation, ttlMs, this.#terms.maxInstances, FENCE_MEMORY_MS];
    return readWord(await this.#run('join', this.#tables(life), args), ['joined', 'fenced', 'refused']);
  }

  async renew(life: Life, ttlMs: number): Promise<RenewOutcome> {
    checkLife(life);
    checkTtl(ttlMs);
    const args = [life.instance, life.incarnation, ttlMs, FENCE_MEMORY_MS];
    return readWord(await this.#run('renew', this.#tables(life), args), ['renewed', 'unknown', 'fenced']);
  }

  async fence(life: Life): Promise<FenceOutcome> {
    checkLife(life);
    const keys = [...this.#tables(life), this.#leasesOf(life)];
    return readWord(await this.#run('fence', keys, [life.incarnation, FENCE_MEMORY_MS]), ['fenced', 'absent']);
  }

  async publish(life: Life, publication: Publication): Promise<ChangeOutcome> {
    checkLife(life);
    checkPublication(publication);
    const { seq, tier, keys, blockBytes } = publication;
    const args = [life.incarnation, seq, TIERS.indexOf(tier), blockBytes, this.#terms.blockTtlMs, MAX_TTL_MS + FENCE_MEMORY_MS];
    return readWord(await this.#run('publish', [...this.#tables(life), ...this.#blocks(keys)], args), CHANGES);
  }

  async withdraw(life: Life, withdrawal: Withdrawal): Promise<WithdrawResult> {
    checkLife(life);
    checkChange(withdrawal);
    const { seq, tier, keys, force = false } = withdrawal;
    const named = [this.#instance(life), this.#counts, this.#leasesOf(life), ...this.#blocks(keys)];
    const [word, ...positions] = readRows(await this.#run('withdraw', named, [life.incarnation, seq, TIERS.indexOf(tier), force ? 1 : 0]));
    return { outcome: readWord(word, CHANGES), kept: positions.flatMap((position) => keys[readCount(position) - 1] ?? []) };
  }

  async lookup(keys: readonly string[]): Promise<readonly SharedMatch[]> {
    checkKeys(keys);
    const reply = await this.#run('lookup', [this.#lives, ...this.#blocks(keys)], []);
    return readLives(reply, ([held, hbm, host, peer, store, heldBytes, lifeMs]) => ({
      held: readCount(held),
      tiers: { hbm: readCount(hbm), host: readCount(host), peer: readCount(peer), store: readCount(store) },
      heldBytes: readCount(heldBytes),
      lifeMs: readCount(lifeMs),
    }));
  }

  async lease(source: Life, keys: readonly string[], ttlMs: number): Promise<LeaseResult> {
    checkLife(source);
    checkKeys(keys);
    checkTtl(ttlMs);
    const lease = { instance: source.instance, incarnation: source.incarnation, id: this.#terms.newLeaseId(), keys };
    checkLease(lease);
    const named = [this.#instance(source), this.#leasesOf(source), ...this.#blocks(keys)];
    const reply = await this.#run('lease', named, [source.incarnation, lease.id, ttlMs, MAX_LEASES_PER_BLOCK]);
    if (typeof reply === 'number') return { outcome: 'leased', lease: { ...lease, keys: keys.slice(0, reply) } };
    return { outcome: readWord(reply, ['missing', 'refused', 'unknown', 'fenced']) };
  }

  async renewLease(lease: BlockLease, ttlMs: number): Promise<LeaseRenewal> {
    checkLease(lease);
    checkTtl(ttlMs);
    const args = [lease.incarnation, lease.id, ttlMs, ...lease.keys];
    return readWord(await this.#run('renewlease', [this.#instance(lease), this.#leasesOf(lease)], args), ['renewed', 'over']);
  }

  async release(lease: BlockLease): Promise<LeaseRelease> {
    checkLease(lease);
    const args = [lease.incarnation, lease.id, ...lease.keys];
    return readWord(await this.#run('release', [this.#instance(lease), this.#leasesOf(lease)], args), ['released', 'over']);
  }

  async stats(): Promise<readonly LifeStats[]> {
    return readLives(await this.#run('stats', [this.#lives, this.#counts], []), ([lifeMs, hbm, host, peer, store, bytes]) => ({
      lifeMs: readCount(lifeMs),
      blocks: { hbm: readCount(hbm), host: readCount(host), peer: readCount(peer), store: readCount(store) },
      bytes: readCount(bytes),
    }));
  }

  async close(): Promise<void> {
    this.#link.close();
  }

  #run(name: CommandName, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    return this.#link.run(this.#scripts[name], keys, args);
  }

  #instance(life: Life): string {
    return `${this.#terms.prefix}i:${life.instance}`;
  }

  #tables(life: Life): string[] {
    return [this.#instance(life), this.#lives, this.#counts];
  }

  #leasesOf(life: Life): string {
    return `${this.#terms.prefix}l:${life.instance}/${life.incarnation}`;
  }

  #blocks(keys: readonly string[]): string[] {
    const prefix = `${this.#terms.prefix}b:`;
    return keys.map((key) => prefix + key);
  }
}

const CHANGES = ['applied', 'stale', 'gap', 'unknown', 'fenced'] as const;
