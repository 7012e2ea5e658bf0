import type { Clock } from '../../../shared/index.ts';
import type { Tier } from '../../events/event.ts';

/** What one life has published. An epoch that is not alive stands for nothing. */
export interface Epoch {
  until: number;
  seq: number;
  readonly blocks: Record<Tier, number>;
  bytes: number;
}

interface Entry {
  forgetAt: number;
  /** Bytes by tier; an epoch without a tier is not kept. */
  readonly holders: Map<Epoch, Map<Tier, number>>;
}

const NOTHING: ReadonlyMap<Tier, number> = new Map();
const SWEEP_FROM = 1024;

/** Block → epochs that hold it, in which tiers. */
export class BlockEntries {
  readonly #clock: Clock;
  readonly #blockTtlMs: number;
  readonly #entries = new Map<string, Entry>();
  readonly #alive = new Set<Epoch>();
  #sweepAt = SWEEP_FROM;

  constructor(clock: Clock, blockTtlMs: number) {
    this.#clock = clock;
    this.#blockTtlMs = blockTtlMs;
  }

  begin(until: number): Epoch {
    const epoch: Epoch = { until, seq: 0, blocks: { hbm: 0, host: 0, peer: 0, store: 0 }, bytes: 0 };
    this.#alive.add(epoch);
    return epoch;
  }

  end(epoch: Epoch): void {
    this.#alive.delete(epoch);
  }

  tiersOf(key: string, epoch: Epoch): ReadonlyMap<Tier, number> {
    const entry = this.#entries.get(key);
    if (!entry || entry.forgetAt <= this.#clock.now()) return NOTHING;
    return entry.holders.get(epoch) ?? NOTHING;
  }

  put(key: string, epoch: Epoch, tier: Tier, bytes: number): void {
    const now = this.#clock.now();
    let entry = this.#entries.get(key);
    if (!entry || entry.forgetAt <= now) {
      if (!entry && this.#entries.size >= this.#sweepAt) this.#sweep(now);
      entry = { forgetAt: 0, holders: new Map() };
      this.#entries.set(key, entry);
    }
    entry.forgetAt = now + this.#blockTtlMs;
    this.#dropDead(entry);
    const tiers = entry.holders.get(epoch) ?? new Map<Tier, number>();
    entry.holders.set(epoch, tiers);
    const before = tiers.get(tier);
    tiers.set(tier, bytes);
    epoch.bytes += bytes - (before ?? 0);
    if (before === undefined) epoch.blocks[tier] += 1;
  }

  remove(key: string, epoch: Epoch, tier: Tier): void {
    const entry = this.#entries.get(key);
    const tiers = entry?.holders.get(epoch);
    const bytes = tiers?.get(tier);
    if (!entry || !tiers || bytes === undefined) return;
    tiers.delete(tier);
    epoch.blocks[tier] -= 1;
    epoch.bytes -= bytes;
    if (tiers.size === 0) entry.holders.delete(epoch);
    if (entry.holders.size === 0) this.#entries.delete(key);
  }

  #dropDead(entry: Entry): void {
    for (const epoch of entry.holders.keys()) if (!this.#alive.has(epoch)) entry.holders.delete(epoch);
  }

  /** Spread over the entries that must come before the next one, it costs O(1) each. */
  #sweep(now: number): void {
    for (const [key, entry] of this.#entries) {
      this.#dropDead(entry);
      if (entry.holders.size === 0 || entry.forgetAt <= now) this.#entries.delete(key);
    }
    this.#sweepAt = Math.max(SWEEP_FROM, 2 * this.#entries.size);
  }
}
