/**
 * What an engine holds, told in Sluice's block keys: follows the engine's own events and gives out events and snapshots of ours.
 *
 * Invariants
 * - A key is given out only for a block whose tokens, adapter and salt are known from the start of its prompt. A block that depends on
 *   anything else has no key, nor has any block after it.
 * - When in doubt a block is not held: a router that knows of too few blocks computes too much, one that knows of too many sends
 *   requests where they should not go.
 * - Events carry a dense `seq` from 1; a snapshot plus the events after its `seq` is the state.
 *
 * An engine may hold a block several times in one tier (two requests computed it at once): it is held until all copies are gone.
 *
 * Of a model with several cache groups the first one seen that keeps whole prompts is followed, the others are left out: with
 * sliding windows or states a prefix that we call held may still be computed again in part.
 *
 * Memory: about 250 bytes per held block.
 */
import { blockKeys, chainSeed, type KvEvent, type KvEventEnvelope, type KvIdentity, type KvSnapshot, keyHex } from '../../../kv/index.ts';
import type { BlockHash, BlockRemoved, BlockStored, CacheEvent, HeldTier } from './event.ts';
import { chainStart, continuesChain, isWholePromptGroup } from './naming.ts';

export interface BlockLedgerOptions {
  readonly incarnation: string;
  readonly identity: KvIdentity;
  /** Blocks known at one time at most, 1 or more; more are not followed. Default 2,000,000. */
  readonly maxBlocks?: number;
}

/** How many blocks were left out, by reason, since the start. */
export interface LedgerStats {
  /** Of another size than the identity's. */
  readonly otherSize: number;
  /** Of a cache group that is not followed. */
  readonly otherGroup: number;
  /** They depend on something that our keys do not know (images, embeddings), or continue such a block. */
  readonly nameless: number;
  /** They continue a block that we have not heard of. */
  readonly unknownParent: number;
  /** Announced without tokens and not known otherwise. */
  readonly unknownHash: number;
  /** Events whose tokens do not add up to their blocks. */
  readonly misfit: number;
  readonly overLimit: number;
  /** Times that the engine announced more blocks than fit into its memory. */
  readonly overCapacity: number;
}

const TIERS: readonly HeldTier[] = ['hbm', 'host', 'store'];

interface Block {
  /** Null: it has no key of ours. */
  readonly key: string | null;
  readonly copies: Record<HeldTier, number>;
}

export class BlockLedger {
  readonly #options: BlockLedgerOptions;
  readonly #maxBlocks: number;
  readonly #blocks = new Map<BlockHash, Block>();
  readonly #listeners = new Set<(envelope: KvEventEnvelope) => void>();
  /** Keys held per tier. */
  readonly #held: Record<HeldTier, number> = { hbm: 0, host: 0, store: 0 };
  /** Copies in HBM, of blocks without key too. */
  #hbmCopies = 0;
  #hbmBlocks = Number.POSITIVE_INFINITY;
  /** The cache group that is followed; null until one was seen. */
  #group: number | null = null;
  #seq = 0;
  /** Keys of the event under way. */
  #pending: { readonly type: 'stored' | 'removed'; readonly tier: HeldTier; readonly keys: string[] } | null = null;
  readonly #stats = {
    otherSize: 0,
    otherGroup: 0,
    nameless: 0,
    unknownParent: 0,
    unknownHash: 0,
    misfit: 0,
    overLimit: 0,
    overCapacity: 0,
  };

  /** @throws RangeError when `maxBlocks` or the identity's `blockTokens` is not an integer of 1 or more. */
  constructor(options: BlockLedgerOptions) {
    this.#options = options;
    this.#maxBlocks = options.maxBlocks ?? 2_000_000;
    if (!Number.isInteger(this.#maxBlocks) || this.#maxBlocks < 1)
      throw new RangeError(`maxBlocks: expected an integer of 1 or more, got ${options.maxBlocks}`);
    const { blockTokens } = options.identity;
    if (!Number.isInteger(blockTokens) || blockTokens < 1)
      throw new RangeError(`identity.blockTokens: expected an integer of 1 or more, got ${blockTokens}`);
  }

  get stats(): LedgerStats {
    return { ...this.#stats };
  }

  /** Blocks with a key, per tier. */
  get held(): Readonly<Record<HeldTier, number>> {
    return { ...this.#held };
  }

  /** How many blocks the engine's HBM has room for, once it is known: announcements beyond it can not be true. */
  limitHbm(blocks: number): void {
    if (blocks > 0) this.#hbmBlocks = blocks;
  }

  /** Takes the events of one message, in order. Never throws on what an engine may say. */
  apply(events: readonly CacheEvent[]): void {
    for (const event of events) {
      if (event.type === 'stored') this.#store(event);
      else if (event.type === 'removed') this.#remove(event);
      else this.clear();
    }
    this.#flush();
    if (this.#hbmCopies > this.#hbmBlocks) this.#shrink();
  }

  /** Nothing is held any more, or nothing is known. */
  clear(): void {
    this.#flush();
    const heldAny = TIERS.some((tier) => this.#held[tier] > 0);
    this.#blocks.clear();
    for (const tier of TIERS) this.#held[tier] = 0;
    this.#hbmCopies = 0;
    this.#group = null;
    if (heldAny) this.#emit({ type: 'cleared' });
  }

  snapshot(): KvSnapshot {
    const tiers: Partial<Record<HeldTier, string[]>> = {};
    for (const { key, copies } of this.#blocks.values()) {
      if (key === null) continue;
      for (const tier of TIERS) {
        if (copies[tier] === 0) continue;
        tiers[tier] ??= [];
        tiers[tier].push(key);
      }
    }
    return { incarnation: this.#options.incarnation, seq: this.#seq, tiers };
  }

  /** Calls back for every event from now on; returns how to stop. */
  onEvent(listener: (envelope: KvEventEnvelope) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #store(event: BlockStored): void {
    const { hashes, tokens, blockTokens, tier } = event;
    if (!this.#follows(event)) {
      this.#stats.otherGroup += hashes.length;
    } else if (tokens.length === 0) {
      for (const hash of hashes) this.#again(hash, tier);
    } else if (blockTokens !== this.#options.identity.blockTokens) {
      this.#stats.otherSize += hashes.length;
    } else if (tokens.length !== hashes.length * blockTokens) {
      this.#stats.misfit += 1;
    } else {
      const seed = this.#seedOf(event);
      if (seed === 'unknown') this.#stats.unknownParent += hashes.length;
      else this.#storeChain(event, seed === 'nameless' ? [] : this.#keysOf(event, seed));
    }
  }

  /** True for events of the group that is followed, which the first fitting event that has tokens chooses. */
  #follows(event: BlockStored): boolean {
    if (this.#group === null && event.tokens.length > 0 && isWholePromptGroup(event)) this.#group = event.group ?? 0;
    return this.#group !== null && (event.group ?? this.#group) === this.#group;
  }

  #storeChain({ hashes, tier }: BlockStored, keys: readonly string[]): void {
    for (const [index, hash] of hashes.entries()) this.#add(hash, keys[index] ?? null, tier);
  }

  /** Keys of the event's leading blocks, as far as they have any. */
  #keysOf(event: BlockStored, seed: Uint32Array): string[] {
    const words = blockKeys(seed, event.tokens, event.blockTokens);
    const first = event.parent === null ? 1 : 0;
    const broken = event.hashes.findIndex((_, index) => index >= first && !continuesChain(event, index));
    return Array.from({ length: broken < 0 ? event.hashes.length : broken }, (_, index) => keyHex(words, index));
  }

  /** Where the event's chain goes on. */
  #seedOf(event: BlockStored): Uint32Array | 'nameless' | 'unknown' {
    const { identity } = this.#options;
    if (event.parent === null) {
      const start = chainStart(event);
      return start === null ? 'nameless' : chainSeed({ ...identity, adapter: start.adapter ?? identity.adapter }, start.salt);
    }
    const block = this.#blocks.get(event.parent);
    if (block === undefined) return 'unknown';
    return block.key === null ? 'nameless' : keyWords(block.key);
  }

  #add(hash: BlockHash, key: string | null, tier: HeldTier): void {
    let block = this.#blocks.get(hash);
    if (block === undefined) {
      if (this.#blocks.size >= this.#maxBlocks) {
        this.#stats.overLimit += 1;
        return;
      }
      block = { key, copies: { hbm: 0, host: 0, store: 0 } };
      this.#blocks.set(hash, block);
      if (key === null) this.#stats.nameless += 1;
    }
    this.#count(block, tier);
  }

  /** A block that is announced by its hash alone. */
  #again(hash: BlockHash, tier: HeldTier): void {
    const block = this.#blocks.get(hash);
    if (block === undefined) this.#stats.unknownHash += 1;
    else this.#count(block, tier);
  }

  #count(block: Block, tier: HeldTier): void {
    block.copies[tier] += 1;
    if (tier === 'hbm') this.#hbmCopies += 1;
    if (block.key === null || block.copies[tier] > 1) return;
    this.#held[tier] += 1;
    this.#tell('stored', tier, block.key);
  }

  #remove({ hashes, tier, group }: BlockRemoved): void {
    if (group !== null && group !== (this.#group ?? group)) return;
    for (const hash of hashes) {
      const block = this.#blocks.get(hash);
      if (block === undefined || block.copies[tier] === 0) continue;
      this.#uncount(hash, block, tier);
    }
  }

  #uncount(hash: BlockHash, block: Block, tier: HeldTier): void {
    block.copies[tier] -= 1;
    if (tier === 'hbm') this.#hbmCopies -= 1;
    if (TIERS.every((other) => block.copies[other] === 0)) this.#blocks.delete(hash);
    if (block.key === null || block.copies[tier] > 0) return;
    this.#held[tier] -= 1;
    this.#tell('removed', tier, block.key);
  }

  /**
   * The engine said more often that it stored a block than it can have: it reports blocks that requests found, not only new ones
   * (vLLM does for a request that asks for it). One copy of each is the most that is sure; if even that is too much, nothing is.
   */
  #shrink(): void {
    this.#stats.overCapacity += 1;
    this.#hbmCopies = 0;
    for (const { copies } of this.#blocks.values()) {
      copies.hbm = Math.min(1, copies.hbm);
      this.#hbmCopies += copies.hbm;
    }
    if (this.#hbmCopies > this.#hbmBlocks) this.clear();
  }

  /** One event for neighbours that changed alike: engines remove block by block. */
  #tell(type: 'stored' | 'removed', tier: HeldTier, key: string): void {
    if (this.#pending?.type !== type || this.#pending.tier !== tier) {
      this.#flush();
      this.#pending = { type, tier, keys: [] };
    }
    this.#pending.keys.push(key);
  }

  #flush(): void {
    const pending = this.#pending;
    this.#pending = null;
    if (pending !== null) this.#emit(pending);
  }

  #emit(event: KvEvent): void {
    this.#seq += 1;
    const envelope = { incarnation: this.#options.incarnation, seq: this.#seq, event };
    for (const listener of this.#listeners) listener(envelope);
  }
}

/** The four words of a key in hex. */
function keyWords(key: string): Uint32Array {
  return Uint32Array.from([0, 8, 16, 24], (from) => Number.parseInt(key.slice(from, from + 8), 16));
}
