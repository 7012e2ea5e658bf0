/**
 * Names of KV blocks. A block's key is 128 bits that depend on the identity of the KV, the tenant salt, the block's tokens and all
 * tokens before it: the four words of the parent are the state in which the block's tokens are mixed.
 *
 * A key is a name, not a proof. The mixing is fast and not made to withstand someone who looks for collisions, so whoever holds or
 * receives a block compares its token ids before using it.
 *
 * Keys of one prompt lie in one Uint32Array, four words per block.
 */
import { createHash } from 'node:crypto';
import type { KvIdentity } from './identity.ts';

const SEED_DOMAIN = 'sluice/kv-chain/1';

/** Field order is part of the format; the type makes a new field of the identity a compile error here. */
const SEED_FIELDS: Record<keyof KvIdentity, true> = {
  model: true,
  revision: true,
  tokenizer: true,
  rope: true,
  adapter: true,
  dtype: true,
  layout: true,
  blockTokens: true,
};

/**
 * Four words in which the chain of one identity and tenant starts: SHA-256 over a length-prefixed encoding of every field and the
 * salt, cut to 128 bits. Strings are encoded as UTF-16, so that any two different JavaScript strings differ.
 */
export function chainSeed(identity: KvIdentity, salt: string): Uint32Array {
  const hash = createHash('sha256');
  const add = (text: string) => {
    const bytes = Buffer.from(text, 'utf16le');
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    hash.update(length).update(bytes);
  };
  add(SEED_DOMAIN);
  for (const field of Object.keys(SEED_FIELDS) as (keyof KvIdentity)[]) {
    add(field);
    add(String(identity[field]));
  }
  add('salt');
  add(salt);
  const digest = hash.digest();
  return Uint32Array.from([0, 4, 8, 12], (at) => digest.readUInt32BE(at));
}

/**
 * Keys of all full blocks of `tokens`, four words per block; a last partial block has no key. Mixing is MurmurHash3 x86_128
 * (A. Appleby, public domain) with the parent's words as seeds.
 *
 * @param seed four words: `chainSeed`, or the key of the block before the first one.
 * @param blockTokens tokens per block, an integer of 1 or more.
 * @throws RangeError when `seed` or `blockTokens` is not as above.
 */
export function blockKeys(seed: Uint32Array, tokens: Int32Array, blockTokens: number): Uint32Array {
  if (seed.length !== 4) throw new RangeError(`seed: expected 4 words, got ${seed.length}`);
  if (!Number.isInteger(blockTokens) || blockTokens < 1)
    throw new RangeError(`blockTokens: expected an integer of 1 or more, got ${blockTokens}`);
  const blocks = Math.floor(tokens.length / blockTokens);
  const keys = new Uint32Array(blocks * 4);
  const state = Int32Array.from(seed);
  for (let block = 0; block < blocks; block++) {
    mixBlock(state, tokens, block * blockTokens, blockTokens);
    keys.set(state, block * 4);
  }
  return keys;
}

/** Mixes `count` tokens from `from` on into the four words of `state`. */
function mixBlock(state: Int32Array, tokens: Int32Array, from: number, count: number): void {
  let h1 = word(state, 0);
  let h2 = word(state, 1);
  let h3 = word(state, 2);
  let h4 = word(state, 3);
  const end = from + count;
  for (let at = from; at < end; at += 4) {
    h1 ^= Math.imul(rotate(Math.imul(word(tokens, at), 0x239b961b), 15), 0xab0e9789);
    h1 = (Math.imul((rotate(h1, 19) + h2) | 0, 5) + 0x561ccd1b) | 0;
    h2 ^= Math.imul(rotate(Math.imul(at + 1 < end ? word(tokens, at + 1) : 0, 0xab0e9789), 16), 0x38b34ae5);
    h2 = (Math.imul((rotate(h2, 17) + h3) | 0, 5) + 0x0bcaa747) | 0;
    h3 ^= Math.imul(rotate(Math.imul(at + 2 < end ? word(tokens, at + 2) : 0, 0x38b34ae5), 17), 0xa1e38b93);
    h3 = (Math.imul((rotate(h3, 15) + h4) | 0, 5) + 0x96cd1c35) | 0;
    h4 ^= Math.imul(rotate(Math.imul(at + 3 < end ? word(tokens, at + 3) : 0, 0xa1e38b93), 18), 0x239b961b);
    h4 = (Math.imul((rotate(h4, 13) + h1) | 0, 5) + 0x32ac3b17) | 0;
  }
  const length = count * 4;
  h1 ^= length;
  h2 ^= length;
  h3 ^= length;
  h4 ^= length;
  h1 = (h1 + h2 + h3 + h4) | 0;
  h2 = finish((h2 + h1) | 0);
  h3 = finish((h3 + h1) | 0);
  h4 = finish((h4 + h1) | 0);
  h1 = finish(h1);
  h1 = (h1 + h2 + h3 + h4) | 0;
  state[0] = h1;
  state[1] = (h2 + h1) | 0;
  state[2] = (h3 + h1) | 0;
  state[3] = (h4 + h1) | 0;
}

/** Element `at`, which the caller knows to exist; `| 0` keeps it an int32 for the compiler. */
function word(words: Int32Array, at: number): number {
  return (words[at] as number) | 0;
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

/** MurmurHash3's fmix32: every input bit flips every output bit with probability near one half. */
function finish(value: number): number {
  let mixed = value ^ (value >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
