import { expect, it } from 'vitest';
import { BYTE_LETTERS } from '../bytealphabet.ts';
import { readBpe } from './definition.ts';
import { BpeEncoder } from './encoder.ts';
import { PRE_TOKENIZERS, trainedTokenizer } from './trained.fixture.ts';

function idsOf(wholeWords: boolean, text: string): number[] {
  const json = trainedTokenizer(PRE_TOKENIZERS['llama3'] ?? {}, { merges: 0, padded: 0, wholeWords });
  const { vocab } = json.model;
  // The token `abc` is there, but its merges end at `a` and `bc`; `de` is what its merge makes.
  const model = { ...json.model, vocab: { ...vocab, abc: 500, bc: 501, de: 502 }, merges: ['b c', 'd e'] };
  const definition = readBpe({ ...json, model });
  if ('unclaimed' in definition) throw new Error(definition.unclaimed);
  return [...new BpeEncoder(definition).encode(text, false)];
}

const byte = (letter: string) => 4 + BYTE_LETTERS.indexOf(letter);

it('a word that is a token is not taken apart where the tokenizer says so', () => {
  expect(idsOf(true, 'abc')).toEqual([500]);
  expect(idsOf(false, 'abc')).toEqual([byte('a'), 501]);
});

it('part of a word is', () => {
  expect(idsOf(true, 'abcd')).toEqual([byte('a'), 501, byte('d')]);
  expect(idsOf(true, 'de abc')).toEqual([502, byte('Ġ'), byte('a'), 501]);
});
