import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Seams } from './seams.ts';

function seamsOf(tokens: readonly string[]): Seams {
  const seams = new Seams();
  for (const token of tokens) seams.add(Buffer.from(token));
  return seams;
}

function cut(seams: Seams, word: string): string[] {
  const bytes = Buffer.from(word);
  const parts: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = seams.next(bytes, at, bytes.length);
    parts.push(bytes.subarray(at, end).toString());
    at = end;
  }
  return parts;
}

it('cuts where no token goes across', () => {
  const seams = seamsOf(['请求', '服务', '服务器', 'ab', 'xyz']);
  expect(cut(seams, '请求服务器请求')).toEqual(['请求', '服务器', '请求']);
  // No token begins before a word or goes on after it.
  expect(cut(seams, 'xy')).toEqual(['x', 'y']);
  expect(cut(seams, 'abab')).toEqual(['ab', 'ab']);
  expect(cut(seams, 'xyzzy')).toEqual(['xyz', 'z', 'y']);
  expect(cut(seams, 'yz')).toEqual(['y', 'z']);
});

it('never cuts through a token', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'd'), minLength: 2, maxLength: 6 });
  fc.assert(
    fc.property(fc.array(letters, { minLength: 1, maxLength: 12 }), fc.array(letters, { maxLength: 4 }), (tokens, around) => {
      const seams = seamsOf(tokens);
      for (const token of tokens) {
        const word = [...around, token, ...around].join('');
        const cuts = new Set<number>();
        let at = 0;
        for (const part of cut(seams, word)) {
          at += part.length;
          cuts.add(at);
        }
        const start = around.join('').length;
        for (let inside = start + 1; inside < start + token.length; inside += 1) expect(cuts.has(inside)).toBe(false);
      }
    }),
  );
});
