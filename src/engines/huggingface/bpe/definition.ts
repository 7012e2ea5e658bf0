/**
 * What tokenizer.json says about a byte-level BPE tokenizer. Everything in it that changes ids is either understood to the letter or makes
 * the tokenizer one that is not claimed. Truncation and padding are not read: engines switch them off.
 */
import { z } from 'zod';
import { BYTE_LETTERS, bytesOfLetters } from '../bytealphabet.ts';
import { type AddedToken, AddedTokens } from './addedtokens.ts';
import { MergeTable } from './mergetable.ts';
import { composed } from './nfc.ts';
import { Seams } from './seams.ts';
import { Splitter } from './splitter.ts';
import { Unclaimed } from './unclaimed.ts';

const absent = z.literal('').nullish();
const model = z.object({
  type: z.literal('BPE'),
  dropout: z.literal(0).nullish(),
  continuing_subword_prefix: absent,
  end_of_word_suffix: absent,
  byte_fallback: z.literal(false).nullish(),
  ignore_merges: z.boolean().nullish(),
  // Checked below: there are hundreds of thousands of entries.
  vocab: z.custom<Readonly<Record<string, unknown>>>((value) => typeof value === 'object' && value !== null && !Array.isArray(value)),
  merges: z.custom<readonly unknown[]>((value) => Array.isArray(value)),
});
const addedToken = z.object({
  id: z.int().min(0),
  content: z.string(),
  single_word: z.literal(false),
  lstrip: z.boolean(),
  rstrip: z.boolean(),
  normalized: z.boolean(),
});
const nfc = z.object({ type: z.literal('NFC') });
const normalizer = z.union([nfc, z.object({ type: z.literal('Sequence'), normalizers: z.array(nfc) })]).nullish();
const offsets = z.object({ type: z.literal('ByteLevel') });
const template = z.object({
  type: z.literal('TemplateProcessing'),
  single: z.array(
    z.union([z.object({ SpecialToken: z.object({ id: z.string() }) }), z.object({ Sequence: z.object({ id: z.literal('A') }) })]),
  ),
  special_tokens: z.record(z.string(), z.object({ ids: z.array(z.int().min(0)) })),
});
const processor = z.discriminatedUnion('type', [offsets, template]);
const postProcessor = z.union([processor, z.object({ type: z.literal('Sequence'), processors: z.array(processor) })]).nullish();
const file = z.object({
  added_tokens: z.array(addedToken).default([]),
  normalizer,
  pre_tokenizer: z.unknown(),
  post_processor: postProcessor,
  model,
});

export interface BpeDefinition {
  readonly ids: ReadonlyMap<string, number>;
  /** Token of each byte. Bytes that stand in no UTF-8 may lack one. */
  readonly byteTokens: Int32Array;
  readonly merges: MergeTable;
  readonly seams: Seams;
  /** Whether a word that is a token as it stands is not taken apart first. */
  readonly wholeWords: boolean;
  readonly splitter: Splitter;
  readonly normalize: ((text: string) => string) | null;
  readonly added: readonly (AddedToken & { readonly normalized: boolean })[];
  /** Looked for in the text as it is, and then in what is left, normalized. */
  readonly exact: AddedTokens;
  readonly normalized: AddedTokens;
  /** Special tokens around a text. */
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/** @returns the tokenizer, or why it is none of those that are known to the letter here */
export function readBpe(json: unknown): BpeDefinition | { readonly unclaimed: string } {
  try {
    return define(json);
  } catch (error) {
    if (error instanceof Unclaimed) return { unclaimed: error.message };
    throw error;
  }
}

function define(json: unknown): BpeDefinition {
  const read = file.safeParse(json);
  if (!read.success) throw new Unclaimed(read.error.issues[0]?.path.join('.') || 'the file');
  const { data } = read;
  const splitter = new Splitter(data.pre_tokenizer);
  const ids = idsOf(data.model.vocab);
  const steps = data.normalizer?.type === 'Sequence' ? data.normalizer.normalizers : data.normalizer ? [data.normalizer] : [];
  const normalize = steps.length > 0 ? composed : null;
  const { added_tokens: added } = data;
  checkAddedIds(added, ids);
  const contents = added.map((token) => ({ ...token, content: token.normalized && normalize ? normalize(token.content) : token.content }));
  return {
    ids,
    byteTokens: byteTokensOf(ids),
    ...mergesOf(data.model.merges, ids),
    wholeWords: data.model.ignore_merges === true,
    splitter,
    normalize,
    added,
    exact: new AddedTokens(contents.filter((token) => !token.normalized)),
    normalized: new AddedTokens(contents.filter((token) => token.normalized)),
    ...aroundText(data.post_processor ?? null),
  };
}

function idsOf(vocabulary: Readonly<Record<string, unknown>>): Map<string, number> {
  const ids = new Map<string, number>();
  const seen = new Set<number>();
  for (const [token, id] of Object.entries(vocabulary)) {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id > 0x3fffffff) throw new Unclaimed(`the id of the token ${token}`);
    if (seen.has(id)) throw new Unclaimed(`the id ${id}, which two tokens have`);
    seen.add(id);
    ids.set(token, id);
  }
  return ids;
}

function byteTokensOf(ids: ReadonlyMap<string, number>): Int32Array {
  return Int32Array.from(BYTE_LETTERS, (letter, byte) => {
    const id = ids.get(letter);
    if (id === undefined && byte !== 0xc0 && byte !== 0xc1 && byte < 0xf5) throw new Unclaimed(`a vocabulary without the byte ${byte}`);
    return id ?? 0;
  });
}

function mergesOf(merges: readonly unknown[], ids: ReadonlyMap<string, number>): Pick<BpeDefinition, 'merges' | 'seams'> {
  const seams = new Seams();
  const table = new MergeTable(merges.length);
  let rank = 0;
  for (const merge of merges) {
    if (typeof merge === 'string' && merge.startsWith('#version')) continue;
    const parts: unknown = typeof merge === 'string' ? merge.split(' ') : merge;
    if (!Array.isArray(parts) || parts.length !== 2) throw new Unclaimed(`the merge ${rank}`);
    const [left, right]: unknown[] = parts;
    if (typeof left !== 'string' || typeof right !== 'string') throw new Unclaimed(`the merge ${rank}`);
    const [leftId, rightId, merged] = [ids.get(left), ids.get(right), ids.get(left + right)];
    if (leftId === undefined || rightId === undefined || merged === undefined) throw new Unclaimed(`the merge ${rank}, of unknown tokens`);
    table.set(leftId, rightId, { rank, merged });
    // A token with letters of no byte stands in no text.
    seams.add(bytesOfLetters(left + right) ?? new Uint8Array(0));
    rank += 1;
  }
  return { merges: table, seams };
}

/** Hugging Face's tokenizers do not read the ids of added tokens: they go by the vocabulary, and number the rest in order. */
function checkAddedIds(added: readonly { readonly id: number; readonly content: string }[], ids: ReadonlyMap<string, number>): void {
  let next = ids.size;
  const seen = new Set<string>();
  for (const { id, content } of added) {
    if (content === '' || seen.has(content)) throw new Unclaimed(`the added token ${JSON.stringify(content)}, empty or given twice`);
    seen.add(content);
    const known = ids.get(content);
    if (known !== undefined ? known !== id : id !== next) throw new Unclaimed(`the added token ${content} with the id ${id}`);
    if (known === undefined) next += 1;
  }
}

function aroundText(processors: z.output<typeof postProcessor>): { before: readonly number[]; after: readonly number[] } {
  if (!processors) return { before: [], after: [] };
  const all = processors.type === 'Sequence' ? processors.processors : [processors];
  const [only, ...others] = all.filter((one) => one.type === 'TemplateProcessing');
  if (!only) return { before: [], after: [] };
  const at = only.single.findIndex((piece) => 'Sequence' in piece);
  if (others.length > 0 || at < 0 || only.single.findLastIndex((piece) => 'Sequence' in piece) !== at)
    throw new Unclaimed('the post-processor');
  const idsOfPieces = (pieces: typeof only.single) =>
    pieces.flatMap((piece) => {
      const name = 'SpecialToken' in piece ? piece.SpecialToken.id : '';
      const ids = Object.hasOwn(only.special_tokens, name) ? only.special_tokens[name]?.ids : undefined;
      if (!ids) throw new Unclaimed(`the special token ${name} of the post-processor`);
      return ids;
    });
  return { before: idsOfPieces(only.single.slice(0, at)), after: idsOfPieces(only.single.slice(at + 1)) };
}
