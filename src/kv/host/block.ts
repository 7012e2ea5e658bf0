import { crc32 } from '@node-rs/crc32';

/** KV of `tokens.length` consecutive tokens. Immutable once made: whoever holds one may hand out views of it. */
export interface KvBlock {
  /** 32 hex digits. */
  readonly key: string;
  /** Key of the block before it in its chain; null for the first. */
  readonly parent: string | null;
  /** Token ids of this block alone. They, and not the key, prove what the block is. */
  readonly tokens: Int32Array;
  readonly bytes: Uint8Array;
  /** `checksum` of `bytes`. */
  readonly crc: number;
  /** The whole block as it goes over the wire, of which `tokens` and `bytes` are views. Absent: it is put together when it is sent. */
  readonly frame?: Uint8Array;
  /** Salt of the tenant that it was computed for; absent: shared. */
  readonly tenant?: string;
}

/** CRC-32 (IEEE 802.3), unsigned. It, and not Castagnoli's, since processors fold it twice as fast as they step through the other. */
export const checksum: (bytes: Uint8Array) => number = crc32;

/** A block with its checksum. Keeps `bytes` and `tokens` as they are: pass copies when they are views of a buffer that is used again. */
export function kvBlock(key: string, parent: string | null, tokens: Int32Array, bytes: Uint8Array): KvBlock {
  return { key, parent, tokens, bytes, crc: checksum(bytes) };
}

/** True when `block` holds exactly the tokens of `prompt` from `at` on. */
export function holdsTokens(block: Pick<KvBlock, 'tokens'>, prompt: Int32Array, at: number): boolean {
  const { tokens } = block;
  if (at + tokens.length > prompt.length) return false;
  for (let index = 0; index < tokens.length; index++) if (tokens[index] !== prompt[at + index]) return false;
  return true;
}
