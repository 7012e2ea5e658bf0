import { describe, expect, it } from 'vitest';
import { CostMeter } from './costs.ts';
import { deepPiece, shallowPieces } from './warmup.ts';

const FILLING_BYTES = 256 << 10;
const PROMPT = 4_000;

function trueMs(uncached: number, context: number): number {
  return 2 + 0.15 * uncached + 6e-5 * uncached * (context + uncached / 2);
}

/** What a warm-up whose i-th prefill piece is measured wrong by `error` says of a long prompt. */
function longPriceWith(error: number, wrong: number): number {
  const meter = new CostMeter();
  const deep = deepPiece(8192, FILLING_BYTES);
  const pieces = [...shallowPieces(1024).filter(({ from, to }) => to - from > 1), ...(deep ? [deep] : [])];
  for (const [i, { from, to }] of pieces.entries()) meter.prefilled(to - from, from, trueMs(to - from, from) * (i === wrong ? error : 1));
  const { prefillFixed, prefillPerToken, prefillPerTokenContext } = meter.costs();
  return prefillFixed + prefillPerToken * PROMPT + prefillPerTokenContext * PROMPT * (PROMPT / 2);
}

describe('warm-up', () => {
  it('finds what a long prompt costs, though one of its measurements is wrong by a fifth', () => {
    for (const error of [0.8, 1, 1.2]) {
      for (let wrong = 0; wrong < 4; wrong++) {
        const ratio = longPriceWith(error, wrong) / trueMs(PROMPT, 0);
        expect(ratio, `piece ${wrong} × ${error}`).toBeGreaterThan(0.7);
        expect(ratio, `piece ${wrong} × ${error}`).toBeLessThan(1.2);
      }
    }
  });

  it('goes as deep as the context and a bounded state allow', () => {
    expect(deepPiece(8192, FILLING_BYTES)).toEqual({ from: 4096, to: 4352 });
    expect(deepPiece(2048, FILLING_BYTES)).toEqual({ from: 1792, to: 2048 });
    expect(deepPiece(8192, 64 << 20)).toEqual({ from: 1024, to: 1280 });
    expect(deepPiece(256, FILLING_BYTES)).toBeNull();
    expect(deepPiece(8192, 512 << 20)).toBeNull();
  });
});
