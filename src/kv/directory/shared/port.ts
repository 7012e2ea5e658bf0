/**
 * The directory that instances and routers share: who holds which block, in which tier, until when. (A router's own index in memory is
 * `../port.ts`; it is made from events, and from this where events are missing.)
 *
 * Invariants
 * - Only the living incarnation of an instance counts. A life ends by `fence`, by a later incarnation that joins, or when its time is over.
 *   What it held is gone with it, at a cost that does not depend on how much that was. A fenced incarnation does not come back.
 * - Time is the directory's own. Clocks of those who call decide nothing but how long they wait.
 * - Publications and withdrawals of a life count in order of `seq`, from 1 after each `join`: one that was lost makes all later ones a
 *   `gap`, until the instance joins anew and publishes all it holds.
 * - A leased block is not withdrawn from the last tier it is in, unless by force.
 * - It is a hint: it may name a block that is gone, or not name one that is there. It never invents.
 * - It forgets a block that was not published for `blockTtlMs`: whoever holds blocks joins anew and publishes them before that.
 */
import type { Tier } from '../../events/event.ts';

/** One life of an instance. Names are 1 to 200 characters out of letters, digits and `._:@-`. */
export interface Life {
  readonly instance: string;
  readonly incarnation: string;
}

/** - `fenced`: this incarnation is over for good. - `refused`: the directory has as many instances as it may. */
export type JoinOutcome = 'joined' | 'fenced' | 'refused';

/** - `unknown`: there is no such life (any more): join, and publish all. */
export type RenewOutcome = 'renewed' | 'unknown' | 'fenced';

/** - `absent`: it did not live, and will not. */
export type FenceOutcome = 'fenced' | 'absent';

/**
 * - `stale`: this `seq` counted before: nothing changed.
 * - `gap`: an earlier `seq` is missing: join anew, and publish all.
 * - `unknown`, `fenced`: as for `renew`.
 */
export type ChangeOutcome = 'applied' | 'stale' | 'gap' | 'unknown' | 'fenced';

/** Keys are 32 lower-case hex digits, at least one, at most `MAX_KEYS`, none twice. */
export interface Publication {
  /** Counts `publish` and `withdraw` of this life. A call that failed is repeated with the same number. */
  readonly seq: number;
  readonly tier: Tier;
  readonly keys: readonly string[];
  /** Of each block, as stored in this tier; 1 to 2^32 - 1. */
  readonly blockBytes: number;
}

export interface Withdrawal {
  readonly seq: number;
  readonly tier: Tier;
  readonly keys: readonly string[];
  /** The bytes are gone already, so that leases do not count. */
  readonly force?: boolean;
}

export interface WithdrawResult {
  readonly outcome: ChangeOutcome;
  /** Those of the keys that are still published in the tier, because they are leased: do not let go of their bytes. */
  readonly kept: readonly string[];
}

/** Counts of leading blocks of the looked-up chain without a hole. */
export interface SharedMatch extends Life {
  /** In any tier. */
  readonly held: number;
  /** In one tier alone. */
  readonly tiers: Readonly<Record<Tier, number>>;
  /** Of the `held` blocks, each in the fastest tier that it is in. */
  readonly heldBytes: number;
  /** Until the life ends unless it is renewed. */
  readonly lifeMs: number;
}

/** A claim on the leading blocks of a chain at one incarnation, for as long as a pull takes. */
export interface BlockLease extends Life {
  /** 16 hex digits. */
  readonly id: string;
  readonly keys: readonly string[];
}

/** - `missing`: not even the first block is published. - `refused`: too many leases over one of the blocks. */
export type LeaseResult =
  | { readonly outcome: 'leased'; readonly lease: BlockLease }
  | { readonly outcome: 'missing' | 'refused' | 'unknown' | 'fenced' };

/** - `over`: the lease ended, or the life of the instance did. */
export type LeaseRenewal = 'renewed' | 'over';
export type LeaseRelease = 'released' | 'over';

export interface LifeStats extends Life {
  readonly lifeMs: number;
  /** Published minus withdrawn since the last join; blocks that the directory forgot after `blockTtlMs` still count. */
  readonly blocks: Readonly<Record<Tier, number>>;
  readonly bytes: number;
}

/**
 * Every method ends within the budget of the adapter and rejects with a `DirectoryFault`, or with a `RangeError` that names field, value
 * and what was expected. Times to live are 1 ms to `MAX_TTL_MS`.
 */
export interface SharedDirectory {
  /** Begins a life, or begins it anew: whatever was known of the instance is forgotten, and `seq` counts from 1. Leases stay. */
  join(life: Life, ttlMs: number): Promise<JoinOutcome>;
  renew(life: Life, ttlMs: number): Promise<RenewOutcome>;
  fence(life: Life): Promise<FenceOutcome>;
  publish(life: Life, publication: Publication): Promise<ChangeOutcome>;
  withdraw(life: Life, withdrawal: Withdrawal): Promise<WithdrawResult>;
  /** Living instances that hold at least the first key; order is not defined. One round trip, whatever the length of the chain. */
  lookup(keys: readonly string[]): Promise<readonly SharedMatch[]>;
  /** Leases the leading blocks of `keys` that the incarnation holds. */
  lease(source: Life, keys: readonly string[], ttlMs: number): Promise<LeaseResult>;
  renewLease(lease: BlockLease, ttlMs: number): Promise<LeaseRenewal>;
  release(lease: BlockLease): Promise<LeaseRelease>;
  stats(): Promise<readonly LifeStats[]>;
  /** Ends connections; calls from then on are `unavailable`. */
  close(): Promise<void>;
}
