/**
 * The store port: the tier below host memory, for blocks that outlive it. It is a cache: whatever it loses is recomputed, and what it gives is
 * verified (key, tokens, checksum) before anybody uses it.
 *
 * Invariants
 * - Bytes held are bounded; the longest unused goes first, pinned blocks last.
 * - No call rejects for what the disk, the network or another process did: results say how much of it was done, `condition` says why not all.
 * - `write` takes its copy before it returns to the event loop; the caller's memory is its own again at once.
 */
import type { KvBlock } from '../host/block.ts';
import type { BlockShape } from '../transfer/frames.ts';

/**
 * - `Ready`: all is well. `Busy`: more waits to be written than may.
 * - `Full`: room cannot be made by eviction. `DiskFull`: the disk has none, whatever the capacity says. `OverQuota`: the tenant has its share.
 * - `Unavailable`: it does not answer. `Denied`: user, password or rights. `Incompatible`: values of another version, which stay as they are.
 */
export type StoreReason = 'Ready' | 'Busy' | 'Full' | 'DiskFull' | 'OverQuota' | 'Unavailable' | 'Denied' | 'Incompatible';

export interface StoreCondition {
  readonly reason: StoreReason;
  /** What was met, and what to do about it. */
  readonly message: string;
}

export interface StoreWriteOptions {
  /** Tenant salt; '' = shared. Its share of the store is bounded. */
  readonly tenant?: string;
  readonly pinned?: boolean;
}

export interface StoreWritten {
  /** Blocks that are new in the store. */
  readonly written: number;
  /** Blocks that it had already: nothing was moved for them. */
  readonly known: number;
  /** Blocks that found no room, or could not be written. */
  readonly dropped: number;
  readonly bytes: number;
  /** Values that were written: contiguous groups of blocks. */
  readonly copies: number;
}

export interface StoreReadRequest extends BlockShape {
  /** In chain order. */
  readonly keys: readonly string[];
  /** Token ids of these blocks, `blockTokens` per key. */
  readonly tokens: Int32Array;
  /** Milliseconds from now after which it ends with what it has. */
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
}

export interface StoreRead {
  /** The leading blocks that were found and verified. Views of memory that is theirs alone. */
  readonly blocks: readonly KvBlock[];
  readonly bytes: number;
  /** Values that were read. */
  readonly copies: number;
  /** What it took; when the deadline cut it short, also what the byte budget still asks for the bytes that came. */
  readonly ms: number;
  /** Why no more came although they were stored; null = nothing more was stored. */
  readonly failed: string | null;
}

export interface StoreUsage {
  readonly usedBytes: number;
  readonly pinnedBytes: number;
  readonly capacityBytes: number;
  readonly groups: number;
}

export interface StoreCounters {
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly reads: number;
  readonly writes: number;
  readonly droppedBlocks: number;
  /** Blocks given up for room. */
  readonly evictedBlocks: number;
  /** Values that were not what they ought to be; they were removed. */
  readonly corrupt: number;
  /** Values of another version; they were left alone. */
  readonly foreign: number;
}

/** What was looked at, and what of it was wrong and therefore removed. */
export interface StoreVerdict {
  readonly groups: number;
  readonly blocks: number;
  readonly bytes: number;
  readonly bad: readonly { readonly group: string; readonly why: string }[];
  /** There is more than was looked at. */
  readonly partial: boolean;
}

export interface StoreChange {
  readonly removed: readonly string[];
  readonly stored: readonly string[];
}

export interface BlockStore {
  readonly kind: 'folder' | 'redis';
  /** For people: where it is, without secrets. */
  readonly place: string;
  /** Stores of one id hold the same blocks, whoever opened them. Without secrets. */
  readonly id: string;
  /** Leading keys that are stored. 0 when it cannot be asked. */
  match(keys: readonly string[]): Promise<number>;
  /** Blocks of one shape, in any order; those that follow each other are moved together. */
  write(blocks: readonly KvBlock[], options?: StoreWriteOptions): Promise<StoreWritten>;
  read(request: StoreReadRequest): Promise<StoreRead>;
  /** Pins the groups that hold these keys, or lets them go; how many groups. */
  pin(keys: readonly string[], pinned: boolean): Promise<number>;
  /** Reads at most `maxGroups` values and removes those that are damaged. */
  verify(maxGroups: number): Promise<StoreVerdict>;
  usage(): Promise<StoreUsage>;
  counters(): StoreCounters;
  condition(): StoreCondition;
  /** Keys known to be stored, at most `limit`: with a store that others write to not all of them. */
  keys(limit: number): string[];
  /** Calls back for what this process learns of: what it wrote, evicted and found gone; returns how to stop. */
  onChange(listener: (change: StoreChange) => void): () => void;
  /** Resolves when what waits is written. */
  settled(): Promise<void>;
  close(): Promise<void>;
}
