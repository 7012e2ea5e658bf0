import { expect, it } from 'vitest';
import { Splitter } from './splitter.ts';

const byteLevel = { type: 'ByteLevel', add_prefix_space: false, use_regex: false };
const split = (pattern: string, removed: boolean) => ({
  type: 'Split',
  pattern: { Regex: pattern },
  behavior: removed ? 'Removed' : 'Isolated',
  invert: removed,
});

function wordsOf(text: string, ...steps: readonly object[]): string[] {
  const splitter = new Splitter({ type: 'Sequence', pretokenizers: [...steps, byteLevel] });
  const words: string[] = [];
  const units = Uint16Array.from({ length: text.length }, (_, at) => text.charCodeAt(at));
  splitter.split(units, text.length, { word: (start, end) => words.push(text.slice(start, end)) });
  return words;
}

// What the original library gives.
it('what no pattern matches is a word of its own, or removed', () => {
  expect(wordsOf('xa aab  bbaz', split('a+|b', false))).toEqual(['x', 'a', ' ', 'aa', 'b', '  ', 'b', 'b', 'a', 'z']);
  expect(wordsOf('xa aab  bbaz', split('a+|b', true))).toEqual(['a', 'aa', 'b', 'b', 'b', 'a']);
});

it('each step splits the parts of the one before, to which a part is a text', () => {
  expect(wordsOf('xa  \n aab   ', split('\\s+$', false), split('[a-b]+', false))).toEqual(['x', 'a', '  ', '\n ', 'aab', '   ']);
});
