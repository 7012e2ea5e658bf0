/**
 * The shared directory of one process: for a single machine, where nobody else needs to see it. Says and does what the one in Redis does
 * (one contract holds for both); its clock is the one it is given.
 *
 * Fencing drops the epoch alone. Entries of epochs that are over are dropped when their block is met again, and all together once they
 * could be more than the living ones.
 */
import { randomBytes } from 'node:crypto';
import type { Clock } from '../../../shared/index.ts';
import type { Tier } from '../../events/event.ts';
import { BlockLeases } from './blockleases.ts';
import {
  checkChange,
  checkInteger,
  checkKeys,
  checkLease,
  checkLife,
  checkPublication,
  checkTtl,
  DEFAULT_BLOCK_TTL_MS,
  DEFAULT_MAX_INSTANCES,
  FENCE_MEMORY_MS,
  MAX_INSTANCES,
  TIERS,
} from './bounds.ts';
import { BlockEntries, type Epoch } from './entries.ts';
import { DirectoryFault } from './fault.ts';
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
} from './port.ts';

/** Fenced incarnations remembered per instance. */
const PAST = 16;

export interface MemorySharedDirectoryOptions {
  readonly clock: Clock;
  /** Default 1 h. */
  readonly blockTtlMs?: number;
  /** Default 1024, at most 4096. */
  readonly maxInstances?: number;
  /** 16 hex digits. Default random. */
  readonly newLeaseId?: () => string;
}

interface InstanceState {
  incarnation: string;
  epoch: Epoch | null;
  past: readonly string[];
  /** When nothing needs to be remembered any more. */
  forgetAt: number;
}

/** @throws RangeError naming the option that is out of bounds. */
export function memorySharedDirectory(options: MemorySharedDirectoryOptions): SharedDirectory {
  return new MemorySharedDirectory(options);
}

class MemorySharedDirectory implements SharedDirectory {
  readonly #clock: Clock;
  readonly #maxInstances: number;
  readonly #newLeaseId: () => string;
  readonly #instances = new Map<string, InstanceState>();
  readonly #entries: BlockEntries;
  readonly #leases: BlockLeases;
  #closed = false;

  constructor({
    clock,
    blockTtlMs = DEFAULT_BLOCK_TTL_MS,
    maxInstances = DEFAULT_MAX_INSTANCES,
    newLeaseId,
  }: MemorySharedDirectoryOptions) {
    checkTtl(blockTtlMs, 'blockTtlMs', 24 * 3_600_000);
    checkInteger('maxInstances', maxInstances, MAX_INSTANCES);
    this.#clock = clock;
    this.#maxInstances = maxInstances;
    this.#newLeaseId = newLeaseId ?? (() => randomBytes(8).toString('hex'));
    this.#entries = new BlockEntries(clock, blockTtlMs);
    this.#leases = new BlockLeases(clock);
  }

  async join(life: Life, ttlMs: number): Promise<JoinOutcome> {
    this.#begin();
    checkLife(life);
    checkTtl(ttlMs);
    const now = this.#clock.now();
    const state = this.#instances.get(life.instance);
    if (state?.past.includes(life.incarnation)) return 'fenced';
    this.#forgetOld(now);
    const others = [...this.#instances].filter(([name, other]) => name !== life.instance && isLiving(other, now));
    if (others.length >= this.#maxInstances) return 'refused';
    if (state?.epoch) this.#entries.end(state.epoch);
    const followed = state && state.incarnation !== '' && state.incarnation !== life.incarnation && !state.past.includes(state.incarnation);
    const past = [...(followed ? [state.incarnation] : []), ...(state?.past ?? [])].slice(0, PAST);
    this.#instances.set(life.instance, {
      incarnation: life.incarnation,
      epoch: this.#entries.begin(now + ttlMs),
      past,
      forgetAt: Math.max(state?.forgetAt ?? 0, now + ttlMs + FENCE_MEMORY_MS),
    });
    return 'joined';
  }

  async renew(life: Life, ttlMs: number): Promise<RenewOutcome> {
    this.#begin();
    checkLife(life);
    checkTtl(ttlMs);
    const living = this.#living(life);
    if (typeof living === 'string') return living;
    const now = this.#clock.now();
    living.until = now + ttlMs;
    const state = this.#instances.get(life.instance);
    if (state) state.forgetAt = Math.max(state.forgetAt, now + ttlMs + FENCE_MEMORY_MS);
    return 'renewed';
  }

  async fence(life: Life): Promise<FenceOutcome> {
    this.#begin();
    checkLife(life);
    const now = this.#clock.now();
    const state = this.#instances.get(life.instance) ?? { incarnation: '', epoch: null, past: [], forgetAt: 0 };
    const isCurrent = state.incarnation === life.incarnation;
    const outcome = isCurrent && isLiving(state, now) ? 'fenced' : 'absent';
    if (isCurrent && state.epoch) {
      this.#entries.end(state.epoch);
      state.epoch = null;
    }
    this.#leases.drop(life);
    if (!state.past.includes(life.incarnation)) state.past = [life.incarnation, ...state.past].slice(0, PAST);
    state.forgetAt = Math.max(state.forgetAt, now + FENCE_MEMORY_MS);
    this.#instances.set(life.instance, state);
    return outcome;
  }

  async publish(life: Life, publication: Publication): Promise<ChangeOutcome> {
    this.#begin();
    checkLife(life);
    checkPublication(publication);
    const epoch = this.#living(life);
    if (typeof epoch === 'string') return epoch;
    const { seq, tier, keys, blockBytes } = publication;
    if (seq <= epoch.seq) return 'stale';
    if (seq > epoch.seq + 1) return 'gap';
    for (const key of keys) this.#entries.put(key, epoch, tier, blockBytes);
    epoch.seq = seq;
    return 'applied';
  }

  async withdraw(life: Life, withdrawal: Withdrawal): Promise<WithdrawResult> {
    this.#begin();
    checkLife(life);
    checkChange(withdrawal);
    const epoch = this.#living(life);
    if (typeof epoch === 'string') return { outcome: epoch, kept: [] };
    const { seq, tier, keys, force = false } = withdrawal;
    if (seq > epoch.seq + 1) return { outcome: 'gap', kept: [] };
    if (seq <= epoch.seq) return { outcome: 'stale', kept: keys.filter((key) => this.#entries.tiersOf(key, epoch).has(tier)) };
    const kept: string[] = [];
    for (const key of keys) {
      const tiers = this.#entries.tiersOf(key, epoch);
      if (!tiers.has(tier)) continue;
      const isLast = tiers.size === 1;
      if (isLast && !force && this.#leases.isLeased(life, key)) {
        kept.push(key);
        continue;
      }
      this.#entries.remove(key, epoch, tier);
      if (isLast) this.#leases.forget(life, key);
    }
    epoch.seq = seq;
    return { outcome: 'applied', kept };
  }

  async lookup(keys: readonly string[]): Promise<readonly SharedMatch[]> {
    this.#begin();
    checkKeys(keys);
    const now = this.#clock.now();
    const matches: SharedMatch[] = [];
    for (const [instance, state] of this.#instances) {
      if (!state.epoch || state.epoch.until <= now) continue;
      const match = this.#matchOf(keys, state.epoch);
      if (match.held > 0) matches.push({ instance, incarnation: state.incarnation, ...match, lifeMs: state.epoch.until - now });
    }
    return matches;
  }

  async lease(source: Life, keys: readonly string[], ttlMs: number): Promise<LeaseResult> {
    this.#begin();
    checkLife(source);
    checkKeys(keys);
    checkTtl(ttlMs);
    const epoch = this.#living(source);
    if (typeof epoch === 'string') return { outcome: epoch };
    const { held } = this.#matchOf(keys, epoch);
    if (held === 0) return { outcome: 'missing' };
    const lease = { instance: source.instance, incarnation: source.incarnation, id: this.#newLeaseId(), keys: keys.slice(0, held) };
    checkLease(lease);
    return this.#leases.add(lease, ttlMs) ? { outcome: 'leased', lease } : { outcome: 'refused' };
  }

  async renewLease(lease: BlockLease, ttlMs: number): Promise<LeaseRenewal> {
    this.#begin();
    checkLease(lease);
    checkTtl(ttlMs);
    return typeof this.#living(lease) !== 'string' && this.#leases.renew(lease, ttlMs) ? 'renewed' : 'over';
  }

  async release(lease: BlockLease): Promise<LeaseRelease> {
    this.#begin();
    checkLease(lease);
    const wasAlive = this.#leases.release(lease);
    return wasAlive && typeof this.#living(lease) !== 'string' ? 'released' : 'over';
  }

  async stats(): Promise<readonly LifeStats[]> {
    this.#begin();
    const now = this.#clock.now();
    const all: LifeStats[] = [];
    for (const [instance, { incarnation, epoch }] of this.#instances) {
      if (!epoch || epoch.until <= now) continue;
      all.push({ instance, incarnation, lifeMs: epoch.until - now, blocks: { ...epoch.blocks }, bytes: epoch.bytes });
    }
    return all;
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #begin(): void {
    if (this.#closed) throw new DirectoryFault('unavailable', 'the directory is closed');
  }

  #living({ instance, incarnation }: Life): Epoch | 'unknown' | 'fenced' {
    const state = this.#instances.get(instance);
    if (state?.past.includes(incarnation)) return 'fenced';
    const epoch = state?.incarnation === incarnation ? state.epoch : null;
    return epoch && epoch.until > this.#clock.now() ? epoch : 'unknown';
  }

  #matchOf(keys: readonly string[], epoch: Epoch): Pick<SharedMatch, 'held' | 'tiers' | 'heldBytes'> {
    const tiers: Record<Tier, number> = { hbm: 0, host: 0, peer: 0, store: 0 };
    let held = 0;
    let heldBytes = 0;
    for (const key of keys) {
      const at = this.#entries.tiersOf(key, epoch);
      if (at.size === 0) break;
      for (const tier of at.keys()) if (tiers[tier] === held) tiers[tier] += 1;
      heldBytes += at.get(TIERS.find((tier) => at.has(tier)) ?? 'store') ?? 0;
      held += 1;
    }
    return { held, tiers, heldBytes };
  }

  #forgetOld(now: number): void {
    for (const [name, state] of this.#instances) {
      if (state.epoch && state.epoch.until <= now) {
        this.#entries.end(state.epoch);
        state.epoch = null;
      }
      if (state.forgetAt <= now) this.#instances.delete(name);
    }
    this.#leases.dropEnded();
  }
}

function isLiving(state: InstanceState, now: number): boolean {
  return state.epoch !== null && state.epoch.until > now;
}
