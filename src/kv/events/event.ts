/** Where a block is. `peer` is another instance's host or HBM, `store` the shared store. */
export type Tier = 'hbm' | 'host' | 'peer' | 'store';

/** A change in what one instance holds. Keys are 32 hex digits; all keys of one event are in chain order. */
export type KvEvent =
  | { readonly type: 'stored'; readonly tier: Tier; readonly keys: readonly string[] }
  | { readonly type: 'removed'; readonly tier: Tier; readonly keys: readonly string[] }
  | { readonly type: 'cleared' };

/** An event as it travels: `seq` counts from 1 within one incarnation without holes; a hole means resync from a snapshot. */
export interface KvEventEnvelope {
  readonly incarnation: string;
  readonly seq: number;
  readonly event: KvEvent;
}

/** All that an instance holds at `seq`. Replaces whatever was known of it. */
export interface KvSnapshot {
  readonly incarnation: string;
  readonly seq: number;
  readonly tiers: Partial<Record<Tier, readonly string[]>>;
}
