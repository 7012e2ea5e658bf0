/** Tokenizers of the kinds that models have: their pre-tokenizers to the letter, merges learned from the sample texts. */
import { BYTE_LETTERS } from '../bytealphabet.ts';
import { byteLevelTokenizer } from '../bytelevel.ts';
import { learnMerges } from './learning.fixture.ts';
import { SAMPLE_TEXTS } from './sampletexts.fixture.ts';
import { Splitter } from './splitter.ts';

const CASELESS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const REST = ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const REST_SLASH = REST.replace('[\\r\\n]*', '[\\r\\n/]*');
const BEFORE = '[^\\r\\n\\p{L}\\p{N}]?';
const UPPER = '[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]';
const LOWER = '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]';
const LLAMA3 = `${CASELESS}|${BEFORE}\\p{L}+|\\p{N}{1,3}|${REST}`;

const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false };
const gpt2 = { ...byteLevel, use_regex: true };
const split = (pattern: string) => ({ type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false });
const sequence = (...pretokenizers: readonly object[]) => ({ type: 'Sequence', pretokenizers });
const digits = { type: 'Digits', individual_digits: true };
const IDEOGRAPHS = '[一-龥ࠀ-一가-퟿]+';

/** By the models that have them. */
export const PRE_TOKENIZERS: Readonly<Record<string, object>> = {
  gpt2,
  gpt2WithSpace: { ...gpt2, add_prefix_space: true },
  starcoder: sequence(digits, gpt2),
  numbers: sequence({ ...digits, individual_digits: false }, gpt2),
  llama3: sequence(split(LLAMA3), byteLevel),
  olmo2: sequence({ ...split(LLAMA3), behavior: 'Removed', invert: true }, byteLevel),
  qwen2: sequence(split(LLAMA3.replace('{1,3}', '')), byteLevel),
  qwen35: sequence(
    split(`${CASELESS}|${BEFORE}[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`),
    byteLevel,
  ),
  nemo: sequence(split(`${BEFORE}${UPPER}*${LOWER}+|${BEFORE}${UPPER}+${LOWER}*|\\p{N}|${REST_SLASH}`), byteLevel),
  gptOss: sequence(
    split(`${BEFORE}${UPPER}*${LOWER}+${CASELESS}?|${BEFORE}${UPPER}+${LOWER}*${CASELESS}?|\\p{N}{1,3}|${REST_SLASH}`),
    byteLevel,
  ),
  possessive: sequence(
    split(
      "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}+| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+|\\s++$|\\s*[\\r\\n]|\\s+(?!\\S)|\\s",
    ),
    byteLevel,
  ),
  deepseek3: sequence(
    split('\\p{N}{1,3}'),
    split('[一-龥぀-ゟ゠-ヿ]+'),
    split(
      '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+',
    ),
    byteLevel,
  ),
  deepseek2: sequence(
    split('[\r\n]'),
    split('\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-Ֆ]+'),
    split('\\s?[!-/:-~！-／：-～‘-‟　-。]+'),
    split('\\s+$'),
    split(IDEOGRAPHS),
    digits,
    byteLevel,
  ),
  deepseekCoder: sequence(split('[\r\n]'), split('\\s?\\p{L}+'), split('\\s?\\p{P}+'), split(IDEOGRAPHS), digits, byteLevel),
};

export const SPECIAL = ['<|bos|>', '<|eos|>', '<|im_start|>', '<|im_end|>'];

export interface Wanted {
  readonly merges?: number;
  readonly normalizer?: object | null;
  readonly wholeWords?: boolean;
  /** Pairs of strings, as newer files have them, or strings with a space. */
  readonly pairs?: boolean;
  readonly added?: readonly { readonly content: string; readonly [flag: string]: string | boolean }[];
  readonly postProcessor?: object | null;
  /** Merges that are there for the size of the tables only, until there are so many. */
  readonly padded?: number;
  readonly texts?: readonly string[];
}

/** A whole tokenizer.json. The same arguments give the same one. */
export function trainedTokenizer(preTokenizer: object, wanted: Wanted = {}) {
  const { merges = 900, normalizer = null, wholeWords = false, pairs = false, added = [], postProcessor = null } = wanted;
  const learned = learnMerges(wordsOf(preTokenizer, wanted.texts ?? SAMPLE_TEXTS), { merges, padded: wanted.padded ?? 0 });
  const tokens = [...SPECIAL, ...BYTE_LETTERS, ...new Set(learned.map(([left, right]) => left + right))];
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const contents = [...SPECIAL.map((content) => ({ content })), ...added];
  return byteLevelTokenizer({
    tokens,
    merges: pairs ? learned : learned.map((pair) => pair.join(' ')),
    addedTokens: contents.map((token, index) => ({
      id: index < SPECIAL.length ? index : tokens.length + index - SPECIAL.length,
      ...flags,
      ...token,
    })),
    normalizer,
    preTokenizer,
    postProcessor,
    wholeWords,
  });
}

/** Bos before the text, eos after it. */
export const BOS_AND_EOS = {
  type: 'Sequence',
  processors: [
    { type: 'ByteLevel', add_prefix_space: true, trim_offsets: false, use_regex: true },
    {
      type: 'TemplateProcessing',
      single: [
        { SpecialToken: { id: '<|bos|>', type_id: 0 } },
        { Sequence: { id: 'A', type_id: 0 } },
        { SpecialToken: { id: '<|eos|>', type_id: 0 } },
      ],
      pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
      special_tokens: {
        '<|bos|>': { id: '<|bos|>', ids: [0], tokens: ['<|bos|>'] },
        '<|eos|>': { id: '<|eos|>', ids: [1], tokens: ['<|eos|>'] },
      },
    },
  ],
};

/** The words of `texts` in the byte alphabet, with how often each stands there. */
function wordsOf(preTokenizer: object, texts: readonly string[]): Map<string, number> {
  const splitter = new Splitter(preTokenizer);
  const words = new Map<string, number>();
  for (const text of texts) {
    const units = Uint16Array.from({ length: text.length }, (_, at) => text.charCodeAt(at));
    splitter.split(units, text.length, {
      word(start, end) {
        const letters = Array.from(Buffer.from(text.slice(start, end)), (byte) => BYTE_LETTERS[byte]).join('');
        words.set(letters, (words.get(letters) ?? 0) + 1);
      },
    });
  }
  return words;
}
