import fc from 'fast-check';
import { expect, it } from 'vitest';
import { hexNumber, isKeyHex, keyHex, keyHexes, keyNumber, keyNumbers } from './names.ts';

const words = fc.array(fc.integer({ min: 0, max: 0xffffffff }), { minLength: 4, maxLength: 4 }).map((four) => Uint32Array.from(four));

it('writes words as hex, most significant digit first', () => {
  const two = Uint32Array.from([1, 0xabcdef, 0xffffffff, 0, 2, 0, 0, 0x80000000]);
  expect(keyHexes(two)).toEqual(['0000000100abcdefffffffff00000000', '00000002000000000000000080000000']);
  expect(keyHex(two, 1)).toBe('00000002000000000000000080000000');
  expect(() => keyHex(two, 2)).toThrow('index: expected 0 to 1, got 2');
});

it('gives the same safe integer for words and for hex', () => {
  fc.assert(
    fc.property(words, (key) => {
      const number = keyNumber(key, 0);
      expect(Number.isSafeInteger(number) && number >= 0).toBe(true);
      expect(hexNumber(keyHex(key, 0))).toBe(number);
      expect([...keyNumbers(key)]).toEqual([number]);
    }),
  );
});

it('knows what is a key', () => {
  expect(isKeyHex('0123456789abcdef0123456789abcdef')).toBe(true);
  for (const text of [
    '',
    '0123456789ABCDEF0123456789abcdef',
    '0123456789abcdef0123456789abcde',
    '0123456789abcdef0123456789abcdeg',
    `${'é'.repeat(32)}`,
  ]) {
    expect(isKeyHex(text)).toBe(false);
  }
  expect(hexNumber('not hex at all, but 32 characters')).toBeNaN();
  expect(hexNumber('')).toBeNaN();
});
