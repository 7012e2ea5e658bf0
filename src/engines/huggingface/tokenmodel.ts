/** Text to ids as one tokenizer.json says: by the encoder for byte-level BPE, or by Hugging Face's library for everything else. */
import { Tokenizer as LibraryTokenizer } from '@huggingface/tokenizers';
import { type BpeDefinition, readBpe } from './bpe/definition.ts';
import { BpeEncoder } from './bpe/encoder.ts';
import type { TokenizerFiles } from './files.ts';

export interface TokenModel {
  readonly vocabularySize: number;
  /** Why the library serves this tokenizer, which takes many times the CPU; null = it does not. */
  readonly unclaimed: string | null;
  /** @param specialTokens whether the model's own go around the text */
  encode(text: string, specialTokens: boolean): Int32Array;
  /** The token as the vocabulary writes it. */
  tokenOf(id: number): string | undefined;
}

/** @throws Error when neither can use it */
export function tokenModelOf(files: Pick<TokenizerFiles, 'tokenizer' | 'config'>): TokenModel {
  const definition = readBpe(files.tokenizer);
  return 'unclaimed' in definition ? new LibraryModel(files, definition.unclaimed) : new BpeModel(definition);
}

class BpeModel implements TokenModel {
  readonly vocabularySize: number;
  readonly unclaimed = null;
  readonly #encoder: BpeEncoder;
  readonly #tokens: (string | undefined)[] = [];

  constructor(definition: BpeDefinition) {
    this.#encoder = new BpeEncoder(definition);
    for (const [token, id] of definition.ids) this.#tokens[id] = token;
    for (const { id, content } of definition.added) this.#tokens[id] = content;
    this.vocabularySize = this.#tokens.length;
  }

  encode(text: string, specialTokens: boolean): Int32Array {
    return this.#encoder.encode(text, specialTokens);
  }

  tokenOf(id: number): string | undefined {
    return this.#tokens[id];
  }
}

class LibraryModel implements TokenModel {
  readonly vocabularySize: number;
  readonly unclaimed: string;
  readonly #library: LibraryTokenizer;

  constructor({ tokenizer, config }: Pick<TokenizerFiles, 'tokenizer' | 'config'>, unclaimed: string) {
    this.unclaimed = unclaimed;
    this.#library = new LibraryTokenizer(tokenizer, config);
    let largest = -1;
    for (const id of this.#library.get_vocab().values()) largest = Math.max(largest, id);
    this.vocabularySize = largest + 1;
  }

  encode(text: string, specialTokens: boolean): Int32Array {
    return Int32Array.from(this.#library.encode(text, { add_special_tokens: specialTokens }).ids);
  }

  tokenOf(id: number): string | undefined {
    return this.#library.id_to_token(id);
  }
}
