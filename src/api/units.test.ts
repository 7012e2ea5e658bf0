import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { durationMs, formatDuration, formatQuantity, quantityBytes } from './units.ts';

describe('durationMs', () => {
  it.each([
    ['250ms', 250],
    ['2s', 2_000],
    ['1.5s', 1_500],
    ['1m30s', 90_000],
    ['2h', 7_200_000],
    ['0s', 0],
  ])('%s is %d ms', (text, ms) => expect(durationMs(text)).toBe(ms));

  it.each(['', '5', 's', '-1s', '+1s', '1 s', '1d', '1e3s', '1s ', 'NaN', '.5s', '1.s', `${'9'.repeat(400)}s`])('"%s" is none', (text) =>
    expect(durationMs(text)).toBeNull(),
  );

  it('reads back what formatDuration writes', () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 999_999_999 }), (ms) => durationMs(formatDuration(ms)) === ms));
  });
});

describe('quantityBytes', () => {
  it.each([
    ['256Mi', 268_435_456],
    ['1Gi', 1_073_741_824],
    ['1.5k', 1_500],
    ['1G', 1_000_000_000],
    ['1048576', 1_048_576],
    ['0.1Ki', 103],
  ])('%s is %d bytes', (text, bytes) => expect(quantityBytes(text)).toBe(bytes));

  it.each(['', 'Mi', '-1Mi', '1MB', '1mi', '1 Gi', '1e9', 'Infinity', 'NaN', '500m', '1K'])('"%s" is none', (text) =>
    expect(quantityBytes(text)).toBeNull(),
  );

  it('reads back what formatQuantity writes', () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 45 }), (bytes) => quantityBytes(formatQuantity(bytes)) === bytes));
  });
});
