/** Tokenizers of our own making: byte-level BPE in the form of a `tokenizer.json`. Pure. */
import { BYTE_LETTERS } from './bytealphabet.ts';

export interface ByteLevelBpe {
  /** By id; the 256 letters of the byte alphabet must be among them. */
  readonly tokens: readonly string[];
  /** Most wanted first, as pairs or as `left right`. */
  readonly merges?: readonly (string | readonly [string, string])[];
  readonly addedTokens?: readonly object[];
  readonly normalizer?: object | null;
  /** Words of GPT-2 unless told. */
  readonly preTokenizer?: object | null;
  readonly postProcessor?: object | null;
  /** A word that is a token stays whole, whatever its merges. */
  readonly wholeWords?: boolean;
}

const WORDS_OF_GPT2 = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };

/** @throws {Error} when a letter of the byte alphabet is no token */
export function byteLevelTokenizer(made: ByteLevelBpe) {
  const vocab = Object.fromEntries(made.tokens.map((token, id) => [token, id]));
  const missing = BYTE_LETTERS.find((letter) => !Object.hasOwn(vocab, letter));
  if (missing !== undefined)
    throw new Error(`a byte-level tokenizer needs every letter of the byte alphabet as a token; ${missing} is none`);
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: made.addedTokens ?? [],
    normalizer: made.normalizer ?? null,
    pre_tokenizer: made.preTokenizer === undefined ? WORDS_OF_GPT2 : made.preTokenizer,
    post_processor: made.postProcessor ?? null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: made.wholeWords ?? false,
      vocab,
      merges: made.merges ?? [],
    },
  };
}
