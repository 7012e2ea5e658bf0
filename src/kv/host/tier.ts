/**
 * The host-memory tier of one instance: blocks that left HBM, and finished blocks that a peer will pull, in the order in which they
 * may be forgotten.
 *
 * Invariants
 * - `usedBytes` is the sum of the held blocks' bytes and at most `capacityBytes`. Token ids and bookkeeping come on top.
 * - A leased block stays until its last lease ends, a kept one until it is let go; only `clear` is stronger.
 * - The order of eviction holds the unleased blocks alone, oldest first. A chain is always touched from its end to its start, so
 *   that a block goes before the block that it continues.
 * - Every operation costs O(1) per block it names; leases end in O(log leases).
 */
import { randomUUID } from 'node:crypto';
import type { Clock } from '../../shared/index.ts';
import { holdsTokens, type KvBlock } from './block.ts';
import { Leases } from './leases.ts';
import { EvictionOrder, type Held } from './order.ts';

export interface HostTierOptions {
  readonly capacityBytes: number;
  readonly clock: Clock;
  /**
   * Once room must be made, at least so much is made, as far as anything may go: what leaves together moves on in one piece. At most an
   * eighth of the capacity. Default 0.
   */
  readonly evictBytes?: number;
  /** Leases alive at one time; more are not given. Default 4096. */
  readonly maxLeases?: number;
  /** Default: random UUIDs, since a peer that knows the id may end the lease. */
  readonly newLeaseId?: () => string;
}

/** What one call changed, in the order: removed, then stored. A clear names no keys. */
export type HostChange =
  | {
      readonly type: 'changed';
      readonly removed: readonly string[];
      readonly stored: readonly string[];
      /** The removed blocks, the oldest first. Whole until the listeners have returned, not longer. */
      readonly evicted: readonly KvBlock[];
    }
  | { readonly type: 'cleared' };

export interface Lease {
  readonly id: string;
  /** Keys under the lease: the leading ones of those asked for that are held. */
  readonly keys: readonly string[];
}

/** Blocks that stay until they are let go, whatever else wants their room. Whoever keeps has to bound for how long. */
export interface Kept {
  readonly keys: readonly string[];
  readonly bytes: number;
  /** Idempotent. */
  release(): void;
}

export class HostTier {
  readonly capacityBytes: number;
  readonly #evictBytes: number;
  readonly #blocks = new Map<string, Held>();
  readonly #order = new EvictionOrder();
  readonly #leases: Leases;
  readonly #listeners = new Set<(change: HostChange) => void>();
  #usedBytes = 0;
  #pinnedBytes = 0;
  #keptBytes = 0;
  /** Counts clears: what was kept before one is gone. */
  #life = 0;

  /** @throws RangeError when `capacityBytes` is not a number of 0 or more. */
  constructor(options: HostTierOptions) {
    if (!(options.capacityBytes >= 0)) throw new RangeError(`capacityBytes: expected 0 or more, got ${options.capacityBytes}`);
    this.capacityBytes = options.capacityBytes;
    this.#evictBytes = Math.min(options.evictBytes ?? 0, options.capacityBytes / 8);
    this.#leases = new Leases({
      clock: options.clock,
      maxLeases: options.maxLeases ?? 4096,
      newId: options.newLeaseId ?? randomUUID,
      unpin: (held) => this.#unpin(held),
    });
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Bytes that cannot give way (`pinnedBytes` of them kept), and those that can. */
  load(): { readonly usedBytes: number; readonly cachedBytes: number; readonly capacityBytes: number; readonly pinnedBytes: number } {
    return {
      usedBytes: this.#pinnedBytes,
      cachedBytes: this.#usedBytes - this.#pinnedBytes,
      capacityBytes: this.capacityBytes,
      pinnedBytes: this.#keptBytes,
    };
  }

  /** Blocks held. */
  get size(): number {
    return this.#blocks.size;
  }

  /** Leases alive. */
  get leases(): number {
    this.#leases.expire();
    return this.#leases.size;
  }

  /** Leases that ended by time, since the start. */
  get leasesExpired(): number {
    this.#leases.expire();
    return this.#leases.expired;
  }

  /** `putChain` of one block. For blocks of one chain use `putChain`, so that the chain's end is forgotten before its start. */
  put(block: KvBlock): boolean {
    return this.putChain([block]) === 1;
  }

  /**
   * Stores the blocks in order and returns how many leading ones are held now. Stops at the first that does not fit, because
   * everything else is leased or of this same chain. A block that is already held keeps its bytes and counts as just used.
   */
  putChain(blocks: readonly KvBlock[]): number {
    this.#leases.expire();
    const stored: string[] = [];
    const evicted: KvBlock[] = [];
    const chain: Held[] = [];
    for (const block of blocks) {
      let held = this.#blocks.get(block.key);
      if (!held) {
        if (!this.#makeRoom(block.bytes.byteLength, evicted)) break;
        held = { block, pins: 0, keeps: 0, older: null, newer: null };
        this.#blocks.set(block.key, held);
        this.#usedBytes += block.bytes.byteLength;
        stored.push(block.key);
      }
      this.#pin(held);
      chain.push(held);
    }
    for (let index = chain.length - 1; index >= 0; index--) this.#unpin(chain[index] as Held);
    this.#tell(evicted, stored);
    return chain.length;
  }

  /** Keys of all held blocks. */
  keys(): string[] {
    return [...this.#blocks.keys()];
  }

  has(key: string): boolean {
    return this.#blocks.has(key);
  }

  /** The block, and counts it as just used. */
  get(key: string): KvBlock | null {
    const held = this.#blocks.get(key);
    if (!held) return null;
    if (held.pins === 0) this.#order.touch(held);
    return held.block;
  }

  /** The block, without counting it as used. */
  peek(key: string): KvBlock | null {
    return this.#blocks.get(key)?.block ?? null;
  }

  /** Drops a block that turned out to be damaged. False when it cannot give way, or it is not held. */
  discard(key: string): boolean {
    const held = this.#blocks.get(key);
    if (!held || held.pins > 0) return false;
    this.#order.remove(held);
    this.#blocks.delete(key);
    this.#usedBytes -= held.block.bytes.byteLength;
    for (const listener of this.#listeners) listener({ type: 'changed', removed: [key], stored: [], evicted: [] });
    return true;
  }

  /** How many leading blocks of the prompt are held with the very tokens. Counts them as just used. */
  matchPrefix(keys: readonly string[], tokens: Int32Array): number {
    const chain: Held[] = [];
    let at = 0;
    for (const key of keys) {
      const held = this.#blocks.get(key);
      if (!held || !holdsTokens(held.block, tokens, at)) break;
      at += held.block.tokens.length;
      chain.push(held);
    }
    for (let index = chain.length - 1; index >= 0; index--) {
      const held = chain[index] as Held;
      if (held.pins === 0) this.#order.touch(held);
    }
    return chain.length;
  }

  /**
   * Keeps the leading held blocks of `keys` for `ttlMs` from now. Null when not even the first is held, or when too many leases are
   * alive.
   * @throws RangeError when `ttlMs` is not a finite number above 0.
   */
  lease(keys: readonly string[], ttlMs: number): Lease | null {
    this.#leases.expire();
    const chain: Held[] = [];
    for (const key of keys) {
      const held = this.#blocks.get(key);
      if (!held) break;
      chain.push(held);
    }
    if (chain.length === 0 || !this.#leases.hasRoom) return null;
    const id = this.#leases.add(chain, ttlMs);
    for (const held of chain) this.#pin(held);
    return { id, keys: chain.map((held) => held.block.key) };
  }

  /** Extends a lease to its full time from now. False when it is unknown or over. */
  renew(id: string): boolean {
    this.#leases.expire();
    return this.#leases.renew(id);
  }

  /** Ends a lease before its time. False when it is unknown or over. */
  release(id: string): boolean {
    this.#leases.expire();
    return this.#leases.release(id);
  }

  /** Keeps the blocks of `keys` until they are let go. Null when one of them is not held. */
  keep(keys: readonly string[]): Kept | null {
    const chain: Held[] = [];
    for (const key of keys) {
      const held = this.#blocks.get(key);
      if (!held) return null;
      chain.push(held);
    }
    for (const held of chain) {
      this.#pin(held);
      if (held.keeps === 0) this.#keptBytes += held.block.bytes.byteLength;
      held.keeps += 1;
    }
    const life = this.#life;
    let over = false;
    const release = () => {
      if (over || life !== this.#life) return;
      over = true;
      for (const held of chain.toReversed()) {
        held.keeps -= 1;
        if (held.keeps === 0) this.#keptBytes -= held.block.bytes.byteLength;
        this.#unpin(held);
      }
    };
    return { keys, bytes: chain.reduce((sum, { block }) => sum + block.bytes.byteLength, 0), release };
  }

  /** Those of the keys that nothing keeps yet. */
  notKept(keys: readonly string[]): number {
    return keys.filter((key) => (this.#blocks.get(key)?.keeps ?? 0) === 0).length;
  }

  /** Calls back at the end of every call that changed what is held; returns how to stop. */
  onChange(listener: (change: HostChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Forgets everything, leased and kept or not, and ends all leases. */
  clear(): void {
    this.#life += 1;
    this.#leases.clear();
    this.#blocks.clear();
    this.#order.clear();
    this.#usedBytes = 0;
    this.#pinnedBytes = 0;
    this.#keptBytes = 0;
    for (const listener of this.#listeners) listener({ type: 'cleared' });
  }

  #makeRoom(bytes: number, evicted: KvBlock[]): boolean {
    // Evicting for a block that can never fit would only lose what is held.
    if (bytes > this.capacityBytes) return false;
    if (this.#usedBytes + bytes <= this.capacityBytes) return true;
    const target = this.capacityBytes - Math.max(bytes, this.#evictBytes);
    while (this.#usedBytes > target) {
      const oldest = this.#order.takeOldest();
      if (!oldest) break;
      this.#blocks.delete(oldest.block.key);
      this.#usedBytes -= oldest.block.bytes.byteLength;
      evicted.push(oldest.block);
    }
    return this.#usedBytes + bytes <= this.capacityBytes;
  }

  #pin(held: Held): void {
    if (held.pins === 0) {
      this.#order.remove(held);
      this.#pinnedBytes += held.block.bytes.byteLength;
    }
    held.pins += 1;
  }

  #unpin(held: Held): void {
    held.pins -= 1;
    if (held.pins > 0) return;
    this.#order.touch(held);
    this.#pinnedBytes -= held.block.bytes.byteLength;
  }

  #tell(evicted: readonly KvBlock[], stored: readonly string[]): void {
    if (evicted.length === 0 && stored.length === 0) return;
    const removed = evicted.map(({ key }) => key);
    for (const listener of this.#listeners) listener({ type: 'changed', removed, stored, evicted });
  }
}
