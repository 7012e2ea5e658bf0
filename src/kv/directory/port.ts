/**
 * The directory port: who holds which block. What it says is a hint that may be old but is never acted on without proof, since
 * whoever fetches a block compares its tokens.
 *
 * Invariants
 * - Per instance only one incarnation counts; what an earlier one held is gone the moment a later one speaks.
 * - Events of an incarnation count in order of `seq`. A hole changes nothing and asks for a snapshot.
 * - Fencing an instance costs the same whatever it held.
 */
import type { KvEventEnvelope, KvSnapshot } from '../events/event.ts';

/**
 * - `applied`: the directory now knows it.
 * - `gap`: events are missing (or the instance was fenced); apply a snapshot before further events count.
 * - `stale`: of an earlier incarnation, or already known; nothing changed and nothing needs to be done.
 * - `refused`: more instances than the directory was made for; nothing is known of this one.
 */
export type ApplyOutcome = 'applied' | 'gap' | 'stale' | 'refused';

/** Counts of leading blocks of the looked-up chain without a hole. */
export interface DirectoryMatch {
  readonly instance: string;
  /** In HBM. */
  readonly hbm: number;
  /** In host memory. */
  readonly host: number;
  /** In HBM or host memory: what the instance need not compute. At least the larger of the two above. */
  readonly held: number;
  /** Held, or expected from requests just routed there. At least `held`. */
  readonly expected: number;
}

export type StoreReach = ReadonlyMap<string, number>;

export interface DirectoryStats {
  readonly instances: number;
  /** Blocks known of; at most `maxBlocks`. */
  readonly blocks: number;
  /** Blocks known to be in stores; at most `maxBlocks` as well. */
  readonly stored: number;
  readonly expectations: number;
  /** Blocks forgotten because of `maxBlocks`, since the start. */
  readonly evicted: number;
}

/** Keys are `keyNumber`s of a prompt's blocks, in chain order. */
export interface Directory {
  apply(instance: string, update: KvEventEnvelope | KvSnapshot): ApplyOutcome;
  /** Instances that hold or expect at least the first key; order is not defined. The array is the caller's. */
  lookup(keys: ArrayLike<number>): DirectoryMatch[];
  /**
   * Notes that `instance` will soon hold `keys`, since a request was routed there. Ends after `ttlMs`, when the instance's own
   * event speaks of the block, or with the incarnation. Ignored for instances that the directory does not know.
   */
  expect(instance: string, keys: ArrayLike<number>, ttlMs: number): void;
  /** Forgets all that `instance` holds. It counts again with a snapshot, or as a new incarnation. What its store holds stays known. */
  fence(instance: string): void;
  /** What `instance` tells of tier `store` is of the store of this name from now on, which others may have too; null = of none. */
  joinStore(instance: string, store: string | null): void;
  /** Leading blocks of `keys` that each store has, by its name; those that have none are left out. */
  stored(keys: Float64Array): StoreReach;
  stats(): DirectoryStats;
}
