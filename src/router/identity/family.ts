/**
 * Instances whose KV is interchangeable: one identity, one tokenizer. Turns prompts into the names of their blocks, with a cache in
 * front, since prompts of one conversation and shared documents come again and again.
 */
import { crc32 } from 'node:zlib';
import type { EngineInfo, Tokenizer } from '../../engines/index.ts';
import { blockKeys, chainSeed, keyHexes, keyNumbers } from '../../kv/index.ts';
import type { PromptSource } from '../edge/index.ts';
import { GenerationCache } from './cache.ts';

/** What placement needs to know of a prompt. */
export interface PromptNames {
  readonly tokens: number;
  /** `keyNumber`s of the full blocks. Empty when the prompt could not be tokenized here. */
  readonly keys: Float64Array;
}

const CACHE_BYTES = 16 * 2 ** 20;
/** What an entry takes beside its keys, about. */
const ENTRY_BYTES = 200;
const MAX_SEEDS = 4096;
/** A body with more bytes than this per token of context cannot fit the context: the engine will say so. */
const BYTES_PER_TOKEN = 64;
const GUESSED_BYTES_PER_TOKEN = 4;
const NO_KEYS = new Float64Array(0);

/** One string per family of interchangeable instances. */
export function familyKey(info: EngineInfo): string {
  const { model, revision, tokenizer, rope, adapter, dtype, layout, blockTokens } = info.identity;
  return JSON.stringify([model, revision, tokenizer, rope, adapter, dtype, layout, blockTokens]);
}

export class Family {
  readonly key: string;
  readonly info: EngineInfo;
  readonly blockTokens: number;
  /** Null when it could not be loaded: prompts are then placed by load alone. */
  readonly tokenizer: Tokenizer | null;
  readonly #names = new GenerationCache<number, PromptNames>(CACHE_BYTES);
  readonly #seeds = new Map<string, Uint32Array>();

  constructor(info: EngineInfo, tokenizer: Tokenizer | null) {
    this.key = familyKey(info);
    this.info = info;
    this.blockTokens = info.identity.blockTokens;
    this.tokenizer = tokenizer;
  }

  /** @param body the request that the prompt is of: the same bytes have the same names. */
  namesOf(prompt: PromptSource, body: Buffer, salt: string): PromptNames {
    if (prompt.kind === 'none') return { tokens: 0, keys: NO_KEYS };
    const key = fingerprint(body, salt);
    const known = this.#names.get(key);
    if (known !== undefined) return known;
    const tokens = body.length > this.info.contextTokens * BYTES_PER_TOKEN ? null : this.#encode(prompt);
    const names = tokens === null ? guessedNames(body) : this.#name(tokens, salt);
    this.#names.set(key, names, names.keys.byteLength + ENTRY_BYTES);
    return names;
  }

  /** Whole names of the prompt's full blocks, as others know them; empty when it cannot be tokenized here. */
  hexesOf(prompt: PromptSource, salt: string): string[] {
    const tokens = this.#encode(prompt);
    return tokens === null ? [] : keyHexes(blockKeys(this.#seed(salt), tokens, this.blockTokens));
  }

  /** Null when the tokenizer is missing or refuses the text, for example a chat template that wants other roles. */
  #encode(prompt: PromptSource): Int32Array | null {
    if (this.tokenizer === null) return null;
    try {
      switch (prompt.kind) {
        case 'text':
          return this.tokenizer.encode(prompt.text);
        case 'chat':
          return this.tokenizer.encodeChat(prompt.messages);
        case 'tokens':
          return Int32Array.from(prompt.tokens);
        case 'none':
          return null;
      }
    } catch {
      // The engine tokenizes the same text and tells the client what is wrong with it; here it is only a hint that is missing.
      return null;
    }
  }

  #name(tokens: Int32Array, salt: string): PromptNames {
    return { tokens: tokens.length, keys: keyNumbers(blockKeys(this.#seed(salt), tokens, this.blockTokens)) };
  }

  #seed(salt: string): Uint32Array {
    const known = this.#seeds.get(salt);
    if (known !== undefined) return known;
    if (this.#seeds.size >= MAX_SEEDS) this.#seeds.clear();
    const seed = chainSeed(this.info.identity, salt);
    this.#seeds.set(salt, seed);
    return seed;
  }
}

/** For prompts that are not tokenized here. */
export function guessedNames(body: Buffer): PromptNames {
  return { tokens: Math.ceil(body.length / GUESSED_BYTES_PER_TOKEN), keys: NO_KEYS };
}

/**
 * Two requests with one fingerprint would be placed by each other's blocks: a worse choice, never a wrong token. So a checksum will do,
 * and the text itself, which is long, need not be hashed as a string or kept.
 */
function fingerprint(body: Buffer, salt: string): number {
  const checksum = crc32(body, salt === '' ? 0 : crc32(salt));
  return (body.length & 0xfffff) * 2 ** 32 + checksum;
}
