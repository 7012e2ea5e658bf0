/** What engines with a store say of it. */
import { type BlockShape, type BlockStore, checksum, type HostTier, type KvEvent, StoreTier } from '../kv/index.ts';
import type { Clock } from '../shared/index.ts';
import { prefillMs } from './costs/index.ts';
import type { EngineCosts, KvVerdict, StoreCounts, StoreLoad } from './port.ts';

export interface TierOptions {
  readonly clock: Clock;
  readonly shape: BlockShape;
  readonly hostBytes: number;
  readonly costs: () => EngineCosts;
  readonly emit: (event: KvEvent) => void;
}

/** The store as a tier of this engine, whose events tell of it. */
export function openStoreTier(store: BlockStore, { clock, shape, hostBytes, costs, emit }: TierOptions): StoreTier {
  const tier = new StoreTier({ store, clock, ...shape, hostBytes, prefillMs: (tokens, context) => prefillMs(costs(), tokens, context) });
  tier.onChange(({ removed, stored }) => {
    if (removed.length > 0) emit({ type: 'removed', tier: 'store', keys: removed });
    if (stored.length > 0) emit({ type: 'stored', tier: 'store', keys: stored });
  });
  return tier;
}

export function storeLoad(tier: StoreTier | null): { readonly store?: StoreLoad } {
  if (tier === null) return {};
  const { kind, condition, usage, price, aheadMs } = tier.stats();
  const { usedBytes, pinnedBytes, capacityBytes } = usage;
  const cachedBytes = usedBytes - pinnedBytes;
  return { store: { kind, ...condition, usedBytes: pinnedBytes, cachedBytes, capacityBytes, pinnedBytes, price, aheadMs } };
}

/** For `EngineInfo`. */
export function storeName(tier: StoreTier | null): { readonly store?: string } {
  return tier === null ? {} : { store: tier.store.id };
}

export function storeCounts(tier: StoreTier | null): { readonly store?: StoreCounts } {
  if (tier === null) return {};
  const { counters, onboarded, recomputed } = tier.stats();
  const { readBytes, writtenBytes, reads, writes, droppedBlocks, evictedBlocks, corrupt } = counters;
  return { store: { readBytes, writtenBytes, reads, writes, onboarded, recomputed, droppedBlocks, evictedBlocks, corrupt } };
}

/** Stored keys that a snapshot names at most; more are known to the store alone. */
const SNAPSHOT_STORE_KEYS = 65_536;

export function storedKeys(tier: StoreTier | null): { readonly store?: readonly string[] } {
  return tier === null ? {} : { store: tier.keys(SNAPSHOT_STORE_KEYS) };
}

/** Blocks looked at before others get their turn. */
const AT_ONCE = 64;
const MOST_GROUPS = 16_384;

/** Compares every checksum of host memory and of the store. */
export async function verifyKv(host: HostTier, tier: StoreTier | null): Promise<KvVerdict> {
  const bad: string[] = [];
  let [blocks, bytes] = [0, 0];
  for (const [index, key] of host.keys().entries()) {
    if (index % AT_ONCE === AT_ONCE - 1) await new Promise((resolve) => setImmediate(resolve));
    const block = host.peek(key);
    if (!block) continue;
    blocks += 1;
    bytes += block.bytes.byteLength;
    if (checksum(block.bytes) === block.crc) continue;
    bad.push(key);
    host.discard(key);
  }
  return { host: { blocks, bytes, bad }, store: tier === null ? null : await tier.verify(MOST_GROUPS) };
}
