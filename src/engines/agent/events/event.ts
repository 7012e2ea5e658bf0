/** What vLLM and SGLang say about their KV cache, whatever the encoding: one message as values. */

/**
 * An engine's own name of a block, made unsigned: vLLM sends 64-bit unsigned integers (or whole digests as bytes), SGLang signed ones.
 * Means something only within one life of one engine.
 */
export type BlockHash = bigint;

/** Tiers that an engine can announce. */
export type HeldTier = 'hbm' | 'host' | 'store';

/** One value that took part in a block's hash besides parent and tokens. `opaque` = multimodal items, digests, anything unknown. */
export type ExtraKey = { readonly kind: 'text'; readonly text: string } | { readonly kind: 'opaque' };

export interface BlockStored {
  readonly type: 'stored';
  /** In chain order. */
  readonly hashes: readonly BlockHash[];
  /** Block before the first one; null = the first one starts a prompt, or (with no tokens) nothing is said about it. */
  readonly parent: BlockHash | null;
  /** Tokens of all blocks; empty when the event only says where known blocks are. */
  readonly tokens: Int32Array;
  readonly blockTokens: number;
  /** Name of the LoRA adapter. */
  readonly adapter: string | null;
  /** A LoRA adapter was used; old versions do not say its name. */
  readonly isAdapted: boolean;
  /** One entry per block; an empty entry = nothing besides parent and tokens. Null = not said. */
  readonly extraKeys: readonly (readonly ExtraKey[])[] | null;
  /** SGLang: the salt that all of these blocks depend on; null = none, or it is among `extraKeys`. */
  readonly salt: string | null;
  readonly tier: HeldTier;
  /** KV cache group (layers of one attention kind); null = the engine has one only. */
  readonly group: number | null;
  /** Kind of that group, for example `full_attention`. */
  readonly groupKind: string | null;
}

export interface BlockRemoved {
  readonly type: 'removed';
  readonly hashes: readonly BlockHash[];
  readonly tier: HeldTier;
  readonly group: number | null;
}

export interface AllBlocksCleared {
  readonly type: 'cleared';
}

export type CacheEvent = BlockStored | BlockRemoved | AllBlocksCleared;

/** One message of the engine's publisher. */
export interface EventBatch {
  readonly events: readonly CacheEvent[];
  /** Events of a type or a medium that we do not know, left out. */
  readonly skipped: number;
}

/** A message that is not what the publisher of an engine sends. What it said is lost, so nothing known before it is safe. */
export class EventFormatError extends Error {
  /** Path of the offending value, for example `events[2].block_hashes`. */
  readonly field: string;

  constructor(field: string, expected: string, got: unknown) {
    super(`KV event: ${field}: expected ${expected}, got ${describe(got)}`);
    this.name = 'EventFormatError';
    this.field = field;
  }
}

function describe(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  const isScalar = typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean';
  return isScalar ? String(value).slice(0, 80) : 'a map';
}
