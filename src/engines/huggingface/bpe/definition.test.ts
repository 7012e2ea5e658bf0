import { describe, expect, it } from 'vitest';
import { readBpe } from './definition.ts';
import { PRE_TOKENIZERS, trainedTokenizer } from './trained.fixture.ts';

type Json = ReturnType<typeof trainedTokenizer>;

function changed(change: (json: Json) => object): unknown {
  const json = trainedTokenizer(PRE_TOKENIZERS['llama3'] ?? {}, { merges: 50 });
  return { ...json, ...change(json) };
}

const model = (fields: object) => changed((json) => ({ model: { ...json.model, ...fields } }));
const added = (fields: object) => changed((json) => ({ added_tokens: [...json.added_tokens, { ...json.added_tokens[0], ...fields }] }));
const next = (json: Json) => Object.keys(json.model.vocab).length;
const split = (fields: object) => ({ type: 'Split', pattern: { Regex: 'a+' }, behavior: 'Isolated', invert: false, ...fields });
const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false };
const preTokenizer = (...pretokenizers: readonly object[]) => changed(() => ({ pre_tokenizer: { type: 'Sequence', pretokenizers } }));
const template = (single: readonly object[]) =>
  changed(() => ({
    post_processor: { type: 'TemplateProcessing', single, pair: [], special_tokens: { x: { id: 'x', ids: [0], tokens: ['x'] } } },
  }));
const A = { Sequence: { id: 'A', type_id: 0 } };

it.each(Object.entries(PRE_TOKENIZERS))('the tokenizer of %s is claimed', (_name, json) => {
  expect(readBpe(trainedTokenizer(json, { merges: 20 }))).not.toHaveProperty('unclaimed');
});

describe('claimed is also one', () => {
  it.each([
    ['with empty affixes', model({ continuing_subword_prefix: '', end_of_word_suffix: '' })],
    ['without options', changed((json) => ({ model: { type: 'BPE', vocab: json.model.vocab, merges: json.model.merges } }))],
    ['with the version in its merges', changed((json) => ({ model: { ...json.model, merges: ['#version: 0.2', ...json.model.merges] } }))],
    ['with ByteLevel after its text', changed(() => ({ post_processor: { type: 'ByteLevel', trim_offsets: true } }))],
    ['with truncation, which is not looked at', changed(() => ({ truncation: { max_length: 8 } }))],
    ['without added tokens', changed(() => ({ added_tokens: undefined }))],
  ])('%s', (_what, json) => expect(readBpe(json)).not.toHaveProperty('unclaimed'));
});

describe('not claimed is one', () => {
  it.each([
    ['of another model', model({ type: 'Unigram' }), 'model.type'],
    ['that falls back to bytes', model({ byte_fallback: true }), 'model.byte_fallback'],
    ['that drops merges', model({ dropout: 0.1 }), 'model.dropout'],
    ['with a prefix inside words', model({ continuing_subword_prefix: '##' }), 'model.continuing_subword_prefix'],
    ['with a suffix of words', model({ end_of_word_suffix: '</w>' }), 'model.end_of_word_suffix'],
    [
      'without a byte',
      changed((json) => ({ model: { ...json.model, merges: [], vocab: { ...json.model.vocab, Ċ: undefined } } })),
      'the id of the token Ċ',
    ],
    [
      'with an id twice',
      changed((json) => ({ model: { ...json.model, vocab: { ...json.model.vocab, x2: 7 } } })),
      'the id 7, which two tokens have',
    ],
    ['with a merge of unknown tokens', model({ merges: ['qq qq'] }), 'the merge 0, of unknown tokens'],
    ['with a merge of three', model({ merges: ['a b c'] }), 'the merge 0'],
    ['with a merge that is a number', model({ merges: [['a', 1]] }), 'the merge 0'],
    ['with another normalizer', changed(() => ({ normalizer: { type: 'NFKC' } })), 'normalizer'],
    [
      'with a normalizer among others',
      changed(() => ({ normalizer: { type: 'Sequence', normalizers: [{ type: 'NFC' }, { type: 'Lowercase' }] } })),
      'normalizer',
    ],
    ['without a pre-tokenizer', changed(() => ({ pre_tokenizer: null })), 'the pre-tokenizer'],
    ['without ByteLevel', preTokenizer(split({})), 'a pre-tokenizer that does not end with ByteLevel'],
    ['with ByteLevel first', preTokenizer(byteLevel, split({}), byteLevel), 'ByteLevel before the end of the pre-tokenizers'],
    [
      'that adds a space to each part',
      preTokenizer(split({}), { ...byteLevel, add_prefix_space: true }),
      'a space that is added to each part',
    ],
    ['that splits by another pre-tokenizer', preTokenizer({ type: 'Punctuation' }, byteLevel), 'the pre-tokenizer'],
    ['that splits by a text', preTokenizer(split({ pattern: { String: 'a' } }), byteLevel), 'the pre-tokenizer'],
    ['that joins what it splits', preTokenizer(split({ behavior: 'MergedWithPrevious' }), byteLevel), 'the pre-tokenizer'],
    ['that removes what it finds', preTokenizer(split({ behavior: 'Removed' }), byteLevel), 'splits that are Removed'],
    [
      'with a pattern that is not read',
      preTokenizer(split({ pattern: { Regex: '\\w+' } }), byteLevel),
      'the pattern \\w+ at its character 3',
    ],
    ['with an added token that is a word', added({ content: 'w', single_word: true }), 'added_tokens.4.single_word'],
    ['with an added token twice', added({}), 'the added token "<|bos|>", empty or given twice'],
    [
      'with an added token of another id',
      changed((json) => ({ added_tokens: [...json.added_tokens, { ...json.added_tokens[0], id: next(json) + 1, content: '<w>' }] })),
      'the added token <w> with the id',
    ],
    [
      'with an added token without flags',
      changed((json) => ({ added_tokens: [{ id: next(json), content: 'w' }] })),
      'added_tokens.0.single_word',
    ],
    [
      'whose added tokens could claim the same white space',
      changed((json) => ({
        added_tokens: [
          ...json.added_tokens,
          { ...json.added_tokens[0], id: next(json), content: ' w' },
          { ...json.added_tokens[0], id: next(json) + 1, content: '<v>', rstrip: true },
        ],
      })),
      'added tokens that begin with white space',
    ],
    ['with two texts after each other', template([A, A]), 'the post-processor'],
    ['with another text', template([{ Sequence: { id: 'B', type_id: 0 } }]), 'post_processor'],
    ['with an unknown special token', template([{ SpecialToken: { id: 'toString', type_id: 0 } }, A]), 'the special token toString'],
    [
      'with another post-processor',
      changed(() => ({ post_processor: { type: 'BertProcessing', sep: ['a', 0], cls: ['b', 1] } })),
      'post_processor',
    ],
    ['that is nothing', null, 'the file'],
  ])('%s', (_what, json, why) => {
    const read = readBpe(json);
    expect('unclaimed' in read ? read.unclaimed : 'it was claimed').toContain(why);
  });
});
