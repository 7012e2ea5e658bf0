/** What both sides of a KV transfer speak of: what is asked for, what came, and how much is allowed. */
import type { Clock } from '../../shared/index.ts';
import type { KvBlock } from '../host/block.ts';
import type { TokenBucket } from './budget.ts';
import type { ConnectionStore } from './connection.ts';

/** Where the server gets blocks from. Synchronous: it is asked for a few blocks at a time, right before they are written. */
export interface BlockSource {
  /** The block, or null when it is not held. Never throws, and does not count as use: the lease protects it. */
  block(key: string): KvBlock | null;
}

export interface LeaseKeeper {
  /** Extends the lease to its full time from now. False when it is unknown or over. */
  renew(id: string): boolean;
  /** Ends the lease. Called once, when the peer acknowledged all blocks that it asked for. */
  release(id: string): void;
}

export interface PullRequest {
  readonly host: string;
  readonly port: number;
  /** Lease id of the ticket, 1 to 128 ASCII characters. */
  readonly lease: string;
  /**
   * Keys (32 hex digits) of the wanted blocks, in chain order. May be empty: then the transfer only acknowledges, which ends the
   * lease at the server.
   */
  readonly keys: readonly string[];
  /** Token ids of the wanted blocks, `blockTokens` per key; more are ignored. */
  readonly tokens: Int32Array;
  readonly blockTokens: number;
  /** Exact size of every block; any other is refused. */
  readonly bytesPerBlock: number;
  /** Milliseconds from now after which the pull ends with what it has. */
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
  readonly clock: Clock;
  /** Called in order 0, 1, 2… for every verified block, before the next one is looked at. If it throws, the pull rejects with that. */
  readonly onBlock: (index: number, block: PulledBlock) => void;
  /** Name of this side, for the server's budget per peer. Default: the address it connects from. */
  readonly peer?: string;
  /** Where open connections are kept between pulls. Default: a connection for this pull alone. */
  readonly connections?: ConnectionStore;
  /** Byte budget on this side; reading pauses when it is used up. */
  readonly budget?: TokenBucket;
  /**
   * Memory to receive into, at least `pullSlabBytes(…)` long, at an address that is a multiple of 4. The blocks are views of it. Default: fresh memory for this pull,
   * which lives as long as a view of it does. Passing it again ends the life of earlier views.
   */
  readonly slab?: Uint8Array;
}

/** A verified block. `tokens` and `bytes` are views: of the request's tokens, and of the slab. Copy what outlives the slab. */
export interface PulledBlock {
  readonly key: string;
  readonly tokens: Int32Array;
  readonly bytes: Uint8Array;
  readonly crc: number;
}

export interface PullResult {
  /** Leading blocks that arrived verified: 0 to `keys.length`. */
  readonly blocks: number;
  /** KV bytes of these blocks. */
  readonly bytes: number;
  readonly ms: number;
  /** Null when all came; else why the pull ended where it did. Names block and peer fault, no address. */
  readonly failed: string | null;
}
