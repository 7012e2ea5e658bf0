/**
 * What must be equal for KV bytes to be interchangeable. Every field takes part in the seed of the key chain, so a change of any
 * one is a miss and never a wrong hit.
 */
export interface KvIdentity {
  /** Served model, for example the digest of the weights. */
  readonly model: string;
  readonly revision: string;
  /** Digest of vocabulary, merges and chat template. */
  readonly tokenizer: string;
  /** RoPE base, scale and dimension as one string; positions are baked into K. */
  readonly rope: string;
  /** Adapter name, or '' for none. */
  readonly adapter: string;
  /** KV element type, for example `f16`. */
  readonly dtype: string;
  /** Byte layout of one block, for example `ggml/k-rows,v-columns/4x64`. */
  readonly layout: string;
  /** Tokens per block. */
  readonly blockTokens: number;
}
