/** KV of a simulated engine: two tiers with real names, leases and events; the bytes are the same made-up ones for every block. */
import {
  type BlockStore,
  GROUP_BYTES,
  HostTier,
  holdsTokens,
  type KvBlock,
  type KvEvent,
  type KvEventEnvelope,
  type KvSnapshot,
  kvBlock,
  type Lease,
  type StoreTier,
} from '../../kv/index.ts';
import type { Clock } from '../../shared/index.ts';
import type { EngineCosts, TierLoad } from '../port.ts';
import { openStoreTier, storedKeys } from '../stores.ts';
import { HbmBlocks } from './hbm.ts';
import { Pins } from './nixl/pins.ts';

export interface SimKvOptions {
  readonly incarnation: string;
  readonly blockTokens: number;
  readonly bytesPerBlock: number;
  readonly hbmBytes: number;
  readonly hostBytes: number;
  readonly leaseMs: number;
  readonly clock: Clock;
  /** Below host memory. */
  readonly store?: BlockStore | null;
  readonly costs: EngineCosts;
}

/** Where the leading blocks of a prompt are, in order. */
export type LocalTier = 'hbm' | 'host';
/** Where tokens that were not computed came from. */
export type ReusedTier = LocalTier | 'store' | 'peer';

export class SimKv {
  readonly hbm: HbmBlocks;
  readonly host: HostTier;
  /** Finished prompts that wait in HBM, as with vLLM; Sluice's own leases are those of `host`. */
  readonly pins: Pins;
  /** Null where there is no store. */
  readonly store: StoreTier | null;
  readonly #options: SimKvOptions;
  /** All blocks share these bytes and this checksum. */
  readonly #sample: KvBlock;
  readonly #listeners = new Set<(envelope: KvEventEnvelope) => void>();
  #seq = 0;

  constructor(options: SimKvOptions) {
    this.#options = options;
    this.hbm = new HbmBlocks(Math.floor(options.hbmBytes / options.bytesPerBlock));
    const evictBytes = options.store ? GROUP_BYTES.wanted : 0;
    this.host = new HostTier({ capacityBytes: options.hostBytes, clock: options.clock, evictBytes });
    this.pins = new Pins(options.clock, options.leaseMs);
    this.#sample = kvBlock('', null, new Int32Array(0), new Uint8Array(options.bytesPerBlock).fill(0x5a));
    this.host.onChange((change) => {
      if (change.type === 'cleared') return;
      if (change.evicted.length > 0) this.store?.offload(change.evicted);
      this.#emit('removed', 'host', change.removed);
      this.#emit('stored', 'host', change.stored);
    });
    const { clock, blockTokens, bytesPerBlock, hostBytes, costs, store } = options;
    const emit = (event: KvEvent) => this.#tell(event);
    this.store = store ? openStoreTier(store, { clock, shape: { blockTokens, bytesPerBlock }, hostBytes, costs: () => costs, emit }) : null;
  }

  load(): Record<LocalTier, TierLoad> {
    const { bytesPerBlock } = this.#options;
    const { inUse, cached, capacity } = this.hbm;
    const hbm = { usedBytes: inUse * bytesPerBlock, cachedBytes: cached * bytesPerBlock, capacityBytes: capacity * bytesPerBlock };
    return { hbm, host: this.host.load() };
  }

  get seq(): number {
    return this.#seq;
  }

  block(name: Pick<KvBlock, 'key' | 'parent' | 'tokens' | 'tenant'>): KvBlock {
    return { ...this.#sample, ...name };
  }

  /** Tiers of the leading blocks that are here with the very tokens of `prompt`. */
  match(keys: readonly string[], prompt: Int32Array): LocalTier[] {
    const tiers: LocalTier[] = [];
    for (const key of keys) {
      const at = tiers.length * this.#options.blockTokens;
      const hbm = this.hbm.peek(key);
      const found = hbm ?? this.host.peek(key);
      if (!found || !holdsTokens(found, prompt, at)) break;
      tiers.push(hbm ? 'hbm' : 'host');
    }
    return tiers;
  }

  /** Takes `count` unfinished HBM blocks; what is evicted for them goes to host memory. False when there are not so many. */
  reserve(count: number): boolean {
    const evicted = this.hbm.reserve(count);
    if (!evicted) return false;
    if (evicted.length > 0) {
      // Oldest first is end first within a chain; host memory wants chains from their start.
      this.host.putChain(evicted.toReversed());
      const homeless = evicted.filter(({ key }) => !this.host.has(key));
      if (homeless.length > 0) this.store?.offload(homeless);
      this.#emit(
        'removed',
        'hbm',
        evicted.map(({ key }) => key),
      );
    }
    return true;
  }

  /** Names finished blocks, in chain order. */
  commit(blocks: readonly KvBlock[]): void {
    const stored = blocks.filter((block) => this.hbm.commit(block)).map(({ key }) => key);
    this.#emit('stored', 'hbm', stored);
  }

  /** Copies finished blocks to host memory and leases as many leading ones as fit there. */
  lease(blocks: readonly KvBlock[], leaseMs: number): Lease | null {
    const held = this.host.putChain(blocks);
    if (held === 0) return null;
    return this.host.lease(
      blocks.slice(0, held).map(({ key }) => key),
      leaseMs,
    );
  }

  snapshot(): KvSnapshot {
    const tiers = { hbm: [...this.hbm.keys()], host: this.host.keys(), ...storedKeys(this.store) };
    return { incarnation: this.#options.incarnation, seq: this.#seq, tiers };
  }

  onEvent(listener: (envelope: KvEventEnvelope) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #emit(type: 'stored' | 'removed', tier: LocalTier, keys: readonly string[]): void {
    if (keys.length > 0) this.#tell({ type, tier, keys });
  }

  #tell(event: KvEvent): void {
    this.#seq += 1;
    for (const listener of this.#listeners) listener({ incarnation: this.#options.incarnation, seq: this.#seq, event });
  }
}
