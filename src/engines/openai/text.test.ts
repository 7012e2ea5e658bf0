import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Tokenizer } from '../port.ts';
import { PieceTable, TokenText, unfinishedBytes } from './text.ts';

/** Token n is the n-th of `pieces`. */
function tableOf(pieces: readonly Uint8Array[]): PieceTable {
  const tokenizer: Tokenizer = {
    vocabularySize: pieces.length,
    encode: () => new Int32Array(0),
    encodeChat: () => new Int32Array(0),
    piece: (token) => pieces[token] ?? new Uint8Array(0),
  };
  return new PieceTable(tokenizer);
}

function cut(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const at = [...new Set([0, ...cuts.map((value) => value % (bytes.length + 1)), bytes.length])].sort((a, b) => a - b);
  return at.slice(1).map((end, index) => bytes.subarray(at[index], end));
}

function run(pieces: readonly Uint8Array[], stops: readonly string[]): { text: string; stopped: boolean; parts: string[] } {
  const text = new TokenText(tableOf(pieces), stops);
  const parts: string[] = [];
  for (let token = 0; token < pieces.length && !text.stopped; token += 1) parts.push(text.push(token));
  if (!text.stopped) parts.push(text.flush());
  return { text: parts.join(''), stopped: text.stopped, parts };
}

const bytesOf = (text: string) => new TextEncoder().encode(text);
const wholeText = (bytes: Uint8Array) => new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
const cuts = fc.array(fc.nat(200), { maxLength: 20 });

describe('TokenText', () => {
  it('decodes any bytes alike, wherever tokens cut them', () => {
    // Bytes that are often lead and continuation bytes, so that broken characters are the rule.
    const byte = fc.oneof(
      fc.integer({ min: 0, max: 255 }),
      fc.constantFrom(0xe2, 0x82, 0xac, 0xf0, 0x9f, 0x98, 0x80, 0xc3, 0xef, 0xbb, 0xbf),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.array(byte, { maxLength: 60 }), cuts, (some, more, where) => {
        const bytes = Uint8Array.from([...some, ...more]);
        expect(run(cut(bytes, where), []).text).toBe(wholeText(bytes));
      }),
    );
  });

  it('holds a split character and shows U+FFFD when its rest never comes', () => {
    const first = bytesOf('a€').subarray(0, 2);
    const second = bytesOf('€').subarray(1);
    expect(run([first, second], []).parts).toEqual(['a', '€', '']);
    expect(run([first], []).parts).toEqual(['a', '\ufffd']);
  });

  it('keeps a byte order mark', () => expect(run([bytesOf('\ufeffa')], []).text).toBe('\ufeffa'));

  it('gives what stands before the stop that is complete first, and never more than could be', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'é'), maxLength: 40 });
    const stop = fc.string({ unit: fc.constantFrom('a', 'b', 'é'), minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(letters, fc.array(stop, { minLength: 1, maxLength: 4 }), cuts, (text, stops, where) => {
        const result = run(cut(bytesOf(text), where), stops);
        const expected = naiveStop(text, stops);
        expect(result.text).toBe(expected ?? text);
        expect(result.stopped).toBe(expected !== null);
      }),
    );
  });

  it('holds back only what could become a stop string', () => {
    const pieces = ['ab', 'x', 'a', 'b', 'c'].map(bytesOf);
    expect(run(pieces, ['abc']).parts).toEqual(['', 'abx', '', '', '']);
    expect(run(pieces.slice(0, 3), ['abc']).parts).toEqual(['', 'abx', '', 'a']);
  });

  it('finds a stop that overlaps its own start', () => expect(run(['aab', 'aabaaa', 'b'].map(bytesOf), ['aabaaab']).text).toBe('aab'));

  it('counts what is decoded, held text included', () => {
    const text = new TokenText(tableOf([bytesOf('ab')]), ['abc']);
    expect(text.push(0)).toBe('');
    expect(text.decodedLength).toBe(2);
  });
});

/** Text before the earliest complete stop; the longest of those complete at the same character. Null when there is none. */
function naiveStop(text: string, stops: readonly string[]): string | null {
  for (let end = 1; end <= text.length; end += 1) {
    const complete = stops.filter((stop) => text.slice(0, end).endsWith(stop)).map((stop) => stop.length);
    if (complete.length > 0) return text.slice(0, end - Math.max(...complete));
  }
  return null;
}

describe('unfinishedBytes', () => {
  it.each([
    ['', 0],
    ['61', 0],
    ['c3', 1],
    ['c3a9', 0],
    ['e282', 2],
    ['f09f98', 3],
    ['f09f9880', 0],
    ['80', 0],
    ['61f0', 1],
    ['ff', 0],
  ])('%s: %i', (hex, count) => expect(unfinishedBytes(Buffer.from(hex, 'hex'))).toBe(count));
});
