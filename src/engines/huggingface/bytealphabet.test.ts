import { describe, expect, it } from 'vitest';
import { BYTE_LETTERS, bytesOfLetters } from './bytealphabet.ts';

describe('the byte alphabet', () => {
  it('has one letter for each byte, and ASCII as it is', () => {
    expect(new Set(BYTE_LETTERS).size).toBe(256);
    expect([BYTE_LETTERS[0x41], BYTE_LETTERS[0x20], BYTE_LETTERS[0x0a], BYTE_LETTERS[0x00]]).toEqual(['A', 'Ġ', 'Ċ', 'Ā']);
    expect(bytesOfLetters(BYTE_LETTERS.join(''))).toEqual(Uint8Array.from({ length: 256 }, (_, byte) => byte));
  });

  it('knows no other letters', () => expect(bytesOfLetters('a你')).toBeNull());
});
