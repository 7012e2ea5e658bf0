import { encode } from '@msgpack/msgpack';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EventFormatError } from './event.ts';
import { type Packed, unpack } from './msgpack.ts';

/** What another implementation may be given to write: maps as objects, bigint for what needs 64 bits. */
const value = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constant(null),
    fc.boolean(),
    fc.integer({ min: -(2 ** 31), max: 2 ** 32 - 1 }),
    fc.double({ noNaN: true }),
    fc.string({ unit: 'binary', maxLength: 300 }),
    fc.uint8Array({ maxLength: 300 }),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
    fc.array(tie('value'), { maxLength: 20 }),
    fc.dictionary(
      fc.string().filter((key) => key !== '__proto__'),
      tie('value'),
      { maxKeys: 5 },
    ),
  ),
})).value;

/** The same value in our types. The other implementation writes every bigint as 64 bits. */
function ours(written: unknown): Packed {
  if (Array.isArray(written)) return written.map(ours);
  if (written instanceof Uint8Array) return new Uint8Array(written);
  if (typeof written === 'object' && written !== null) return new Map(Object.entries(written).map(([key, inner]) => [key, ours(inner)]));
  // It writes -0 as the integer 0.
  return written === 0 ? 0 : (written as Packed);
}

describe('unpack', () => {
  it('reads what another implementation writes', () => {
    fc.assert(
      fc.property(value, (written) => {
        expect(unpack(encode(written, { useBigInt64: true }))).toEqual(ours(written));
      }),
      { numRuns: 500 },
    );
  });

  it('keeps all 64 bits, signed or not', () => {
    expect(unpack(Buffer.from('cfffffffffffffffff', 'hex'))).toBe(2n ** 64n - 1n);
    expect(unpack(Buffer.from('d3ffffffffffffffff', 'hex'))).toBe(-1n);
    expect(unpack(Buffer.from('cf0000000000000001', 'hex'))).toBe(1n);
  });

  it('reads long lists, texts and bytes', () => {
    const long = [Array.from({ length: 70_000 }, (_, index) => index), 'é'.repeat(40_000), new Uint8Array(70_000).fill(7)];
    expect(unpack(encode(long))).toEqual(long);
  });

  it.each([
    ['nothing at all', ''],
    ['a list that claims four billion values', 'ddffffffff01'],
    ['a map that claims four billion values', 'dfffffffff01'],
    ['text that claims four gigabytes', 'dbffffffff61'],
    ['bytes cut off', 'c40401'],
    ['a second value', 'c0c0'],
    ['a map with a number as key', '810102'],
    ['an extension type', 'd40101'],
    ['a byte that is never used', 'c1'],
    ['a double cut off', 'cb0000'],
  ])('refuses %s', (_, hex) => {
    expect(() => unpack(Buffer.from(hex, 'hex'))).toThrow(EventFormatError);
  });

  it('refuses nesting without end, fast', () => {
    expect(() => unpack(new Uint8Array(8 << 20).fill(0x91))).toThrow('nesting of at most 16');
    expect(() => unpack(new Uint8Array(8 << 20).fill(0x81))).toThrow(EventFormatError);
  });

  it('refuses or reads any bytes, and never fails otherwise', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        try {
          unpack(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(EventFormatError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
