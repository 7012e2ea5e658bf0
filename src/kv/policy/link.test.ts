import { describe, expect, it } from 'vitest';
import { LinkMeter, moveMs, rateLink } from './link.ts';

const DECLARED = { fixedMs: 1, msPerMiB: 1, copyMs: 0.5 };
const MIB = 2 ** 20;

describe('a link', () => {
  it('costs what was declared until something is known', () => {
    const price = new LinkMeter(DECLARED).price(0);
    expect(price.fixedMs).toBeCloseTo(1, 9);
    expect(price.msPerMiB).toBeCloseTo(1, 9);
  });

  it('learns fixed and variable costs from what was moved', () => {
    const meter = new LinkMeter(DECLARED);
    for (let at = 0; at < 40; at++) {
      const size = 1 + (at % 8);
      meter.moved({ bytes: size * MIB, copies: 1, ms: 10 + 3 * size, at });
    }
    const price = meter.price(40);
    expect(price.fixedMs).toBeCloseTo(10, 0);
    expect(price.msPerMiB).toBeCloseTo(3, 0);
  });

  it('takes the cost of copies apart', () => {
    const meter = new LinkMeter(DECLARED);
    for (let at = 0; at < 40; at++) meter.moved({ bytes: (1 + (at % 4)) * MIB, copies: 5, ms: 2 + (1 + (at % 4)) + 4 * 0.5, at });
    expect(meter.price(40).fixedMs).toBeCloseTo(2, 0);
  });

  it('forgets: a link that was slow once is tried again', () => {
    const meter = new LinkMeter(DECLARED);
    for (let at = 0; at < 10; at++) meter.moved({ bytes: 4 * MIB, copies: 1, ms: 4_000, at });
    expect(moveMs(meter.price(10), 4 * MIB, 1)).toBeGreaterThan(3_000);
    expect(moveMs(meter.price(600_000), 4 * MIB, 1)).toBeLessThan(8);
  });

  it('is never negative, and nothing costs nothing', () => {
    const meter = new LinkMeter(DECLARED);
    meter.moved({ bytes: MIB, copies: 1, ms: 100, at: 0 });
    meter.moved({ bytes: 100 * MIB, copies: 1, ms: 0, at: 1 });
    const price = meter.price(2);
    expect(price.fixedMs).toBeGreaterThanOrEqual(0);
    expect(price.msPerMiB).toBeGreaterThanOrEqual(0);
    expect(moveMs(price, 0, 1)).toBe(0);
    expect(moveMs(rateLink(20e9), 20e9, 1)).toBeCloseTo(1000, 6);
  });
});
