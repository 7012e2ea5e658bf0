import fc from 'fast-check';
import { expect, it } from 'vitest';
import { WordCache } from './wordcache.ts';

const out = new Int32Array(64);

function unitsOf(word: string): Uint16Array {
  return Uint16Array.from({ length: word.length }, (_, at) => word.charCodeAt(at));
}

function tokensOf(cache: WordCache, word: string): number[] | null {
  const way = cache.find(unitsOf(word), 0, word.length);
  return way < 0 ? null : [...out.subarray(0, cache.read(way, out, 0))];
}

function keep(cache: WordCache, word: string, tokens: readonly number[]): void {
  cache.find(unitsOf(word), 0, word.length);
  cache.write(unitsOf(word), [0, word.length], Int32Array.from(tokens));
}

it('gives back what was kept, or nothing, and never what another word became', () => {
  const cache = new WordCache();
  const words = fc.array(fc.tuple(fc.string({ minLength: 1, maxLength: 30 }), fc.array(fc.nat(), { minLength: 1, maxLength: 10 })));
  const last = new Map<string, readonly number[]>();
  fc.assert(
    fc.property(words, (some) => {
      for (const [word, tokens] of some) {
        const known = tokensOf(cache, word);
        if (known !== null) expect(known).toEqual(last.get(word));
        else {
          keep(cache, word, tokens);
          last.set(word, tokens);
          expect(tokensOf(cache, word)).toEqual(word.length <= 24 && tokens.length <= 8 ? tokens : null);
        }
      }
    }),
  );
});

it('tells words of the same hash apart', () => {
  const cache = new WordCache();
  keep(cache, '1vdhckwli', [1]);
  expect(tokensOf(cache, '1dghzdtkn')).toBeNull();
  keep(cache, '1dghzdtkn', [2]);
  expect([tokensOf(cache, '1vdhckwli'), tokensOf(cache, '1dghzdtkn')]).toEqual([[1], [2]]);
});

it('keeps its size, and the words that are asked for', () => {
  const cache = new WordCache();
  const { bytes } = cache;
  expect(bytes).toBeLessThan(4 * 2 ** 20);
  keep(cache, 'often', [1, 2, 3]);
  let known = 0;
  for (let word = 0; word < 60_000; word += 1) {
    keep(cache, `word${word}`, [word]);
    if (tokensOf(cache, 'often') !== null) known += 1;
  }
  expect(known).toBe(60_000);
  expect(cache.bytes).toBe(bytes);
  let kept = 0;
  for (let word = 0; word < 60_000; word += 1) if (tokensOf(cache, `word${word}`) !== null) kept += 1;
  expect(kept).toBeGreaterThan(20_000);
  expect(kept).toBeLessThan(33_000);
  cache.clear();
  expect(tokensOf(cache, 'often')).toBeNull();
});
