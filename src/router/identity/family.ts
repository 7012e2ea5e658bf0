/**
 * Instances whose KV is interchangeable: one identity, one tokenizer. Turns prompts into the names of their blocks, with a cache in
 * front, since prompts of one conversation and shared documents come again and again.
 */
import type { EngineInfo, Tokenizer } from '../../engines/index.ts';
import { blockKeys, chainSeed, keyNumbers } from '../../kv/index.ts';
import type { PromptSource } from '../edge/index.ts';
import { ByteLru } from './cache.ts';

/** What placement needs to know of a prompt. */
export interface PromptNames {
  readonly tokens: number;
  /** `keyNumber`s of the full blocks. Empty when the prompt could not be tokenized here. */
  readonly keys: Float64Array;
}

const CACHE_BYTES = 64 * 2 ** 20;
const MAX_SEEDS = 4096;
/** A text longer than this many characters per token of context cannot fit the context: the engine will say so. */
const CHARACTERS_PER_TOKEN = 64;
/** Guess for prompts that are not tokenized here. */
const GUESSED_CHARACTERS_PER_TOKEN = 4;
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
  readonly #names = new ByteLru<PromptNames>(CACHE_BYTES);
  readonly #seeds = new Map<string, Uint32Array>();

  constructor(info: EngineInfo, tokenizer: Tokenizer | null) {
    this.key = familyKey(info);
    this.info = info;
    this.blockTokens = info.identity.blockTokens;
    this.tokenizer = tokenizer;
  }

  namesOf(prompt: PromptSource, salt: string): PromptNames {
    switch (prompt.kind) {
      case 'text':
        return this.#cached(salt === '' ? prompt.text : `\0${salt}\0${prompt.text}`, salt, prompt);
      case 'chat':
        return this.#cached(chatKey(prompt.messages, salt), salt, prompt);
      case 'tokens':
        return this.#name(Int32Array.from(prompt.tokens), salt);
      case 'none':
        return { tokens: 0, keys: NO_KEYS };
    }
  }

  #cached(key: string, salt: string, prompt: PromptSource): PromptNames {
    const known = this.#names.get(key);
    if (known !== undefined) return known;
    const tokens = key.length > this.info.contextTokens * CHARACTERS_PER_TOKEN ? null : this.#encode(prompt);
    const names = tokens === null ? guessed(key.length) : this.#name(tokens, salt);
    this.#names.set(key, names, names.keys.byteLength + 64);
    return names;
  }

  /** Null when the tokenizer is missing or refuses the text, for example a chat template that wants other roles. */
  #encode(prompt: PromptSource): Int32Array | null {
    if (this.tokenizer === null) return null;
    try {
      if (prompt.kind === 'text') return this.tokenizer.encode(prompt.text);
      return prompt.kind === 'chat' ? this.tokenizer.encodeChat(prompt.messages) : null;
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

function guessed(characters: number): PromptNames {
  return { tokens: Math.ceil(characters / GUESSED_CHARACTERS_PER_TOKEN), keys: NO_KEYS };
}

/** Lengths stand before texts, so that no two conversations have one key. */
function chatKey(messages: readonly { readonly role: string; readonly content: string }[], salt: string): string {
  let key = `\0chat\0${salt.length}:${salt}`;
  for (const { role, content } of messages) key += `${role.length}:${role}${content.length}:${content}`;
  return key;
}
