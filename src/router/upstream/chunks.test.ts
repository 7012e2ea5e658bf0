import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ChunkDecoder, ChunkError } from './chunks.ts';

function decode(decoder: ChunkDecoder, pieces: readonly Buffer[]): { payload: string; left: number } {
  const payload: Buffer[] = [];
  let left = 0;
  for (const piece of pieces) {
    const at = decoder.read(piece, 0, (part) => payload.push(Buffer.from(part)));
    left += piece.length - at;
  }
  return { payload: Buffer.concat(payload).toString('latin1'), left };
}

function encode(parts: readonly string[]): string {
  return `${parts.map((part) => `${part.length.toString(16)}\r\n${part}\r\n`).join('')}0\r\n\r\n`;
}

describe('ChunkDecoder', () => {
  it('gives the payload back however the bytes are cut, and stops at the end', () => {
    const parts = fc.array(fc.string({ minLength: 1, maxLength: 40, unit: 'binary-ascii' }), { maxLength: 6 });
    fc.assert(
      fc.property(parts, fc.array(fc.nat(300), { maxLength: 8 }), (texts, cuts) => {
        const all = Buffer.from(`${encode(texts)}next`, 'latin1');
        const edges = [0, ...cuts.map((cut) => cut % all.length).sort((a, b) => a - b), all.length];
        const pieces = edges.slice(1).map((to, index) => all.subarray(edges[index], to));
        const decoder = new ChunkDecoder();
        expect(decode(decoder, pieces)).toEqual({ payload: texts.join(''), left: 4 });
        expect(decoder.done).toBe(true);
      }),
    );
  });

  it('passes over extensions and trailers', () => {
    const decoder = new ChunkDecoder();
    expect(decode(decoder, [Buffer.from('3;a=b\r\nabc\r\n0;x\r\ntrailer: 1\r\nother: 2\r\n\r\n')]).payload).toBe('abc');
    expect(decoder.done).toBe(true);
  });

  it('starts anew after reset', () => {
    const decoder = new ChunkDecoder();
    decode(decoder, [Buffer.from('5\r\nab')]);
    decoder.reset();
    expect(decode(decoder, [Buffer.from(encode(['xyz']))]).payload).toBe('xyz');
  });

  it.each([
    ['no size', '\r\nabc'],
    ['a size that is not hex', 'g\r\n'],
    ['a negative size', '-1\r\n'],
    ['a size with a space', '3 \r\nabc\r\n'],
    ['a size that overflows', '123456789\r\n'],
    ['a size line without carriage return', '3\nabc\r\n'],
    ['a chunk longer than its size', '2\r\nabc\r\n'],
    ['a chunk with a bare line feed after it', '3\r\nabc\n'],
    ['an endless extension', `3;${'x'.repeat(5000)}`],
    ['an endless trailer', `0\r\n${'x'.repeat(5000)}`],
    ['a trailer with a bare line feed', '0\r\na: b\n\r\n'],
  ])('refuses %s', (_what, text) => {
    expect(() => decode(new ChunkDecoder(), [Buffer.from(text)])).toThrow(ChunkError);
  });
});
