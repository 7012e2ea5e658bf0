import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isWorthKeeping, type OnboardQuestion, planOnboard, planReading, storeStep } from './choice.ts';
import { type LinkPrice, moveMs, rateLink } from './link.ts';

/**
 * Fu 2024, as papers.md 1.3 recomputes it: Yi-34B (60 layers, 8 KV heads of 128, d 6656 for the attention term) in bf16 on an A100:
 * 245,760 bytes per token, S(2P + L·d·S) FLOP at 312 TFLOPS.
 */
const KV_PER_TOKEN = 2 * 2 * 60 * 8 * 128;
const prefillMs = (tokens: number, context: number) => {
  const flop = (s: number) => s * (2 * 34e9 + 60 * 6656 * s);
  return ((flop(tokens + context) - flop(context)) / 312e12) * 1000;
};

function golden(tokens: number, bytesPerSecond: number, from: 'host' | 'peer' | 'store' = 'host'): OnboardQuestion {
  const blockTokens = 50;
  const blocks = tokens / blockTokens;
  const offer = { blocks, price: rateLink(bytesPerSecond), blocksPerCopy: blocks };
  return { blocks, resident: 0, offers: { [from]: offer }, blockTokens, bytesPerBlock: blockTokens * KV_PER_TOKEN, prefillMs };
}

describe('the crossovers of Fu 2024 (papers.md 1.6.3)', () => {
  it('50K tokens at 20 GB/s: moving 0.6 s, computing 14.1 s', () => {
    const plan = planOnboard(golden(50_000, 20e9));
    expect(plan.steps).toMatchObject([{ from: 'host', start: 0, end: 1000 }]);
    expect(plan.totalMs / 1000).toBeCloseTo(0.61, 2);
    expect(Math.abs(plan.recomputeMs / 1000 - 14.1)).toBeLessThan(0.02 * 14.1);
  });

  it('4K tokens at 20 GB/s: moving 0.05 s, computing 0.89 s', () => {
    const plan = planOnboard(golden(4_000, 20e9));
    expect(plan.steps).toMatchObject([{ from: 'host' }]);
    expect(plan.totalMs / 1000).toBeCloseTo(0.05, 2);
    expect(Math.abs(plan.recomputeMs / 1000 - 0.89)).toBeLessThan(0.02 * 0.89);
  });

  it.each(['host', 'peer', 'store'] as const)('moving 50K tokens from %s loses below 0.87 GB/s', (from) => {
    const crossover = (50_000 * KV_PER_TOKEN) / (prefillMs(50_000, 0) / 1000);
    expect(crossover / 1e9).toBeCloseTo(0.87, 2);
    expect(planOnboard(golden(50_000, crossover * 1.01, from)).steps).toMatchObject([{ from }]);
    expect(planOnboard(golden(50_000, crossover * 0.99, from)).steps).toMatchObject([{ from: 'recompute' }]);
  });

  it('what is resident costs nothing', () => {
    const question = { ...golden(50_000, 20e9), resident: 1000 };
    expect(planOnboard(question)).toMatchObject({ steps: [], totalMs: 0, reason: 'all of it is resident' });
  });

  it('a link of 1 MB/s is not worth waiting for', () => {
    expect(planOnboard(golden(4_000, 1e6, 'store')).steps).toMatchObject([{ from: 'recompute' }]);
  });
});

const SLOW: LinkPrice = { fixedMs: 5, msPerMiB: 10, copyMs: 0 };
const FAST: LinkPrice = { fixedMs: 1, msPerMiB: 1, copyMs: 0 };
const BASE = { blocks: 10, resident: 2, blockTokens: 16, bytesPerBlock: 2 ** 20, prefillMs: (tokens: number) => tokens * 2 };

describe('where blocks come from', () => {
  it('what moves while the prompt waits for its turn costs nothing, what is moved for others first costs a third', () => {
    const ask = (lineMs: number, waitMs: number, deadlineMs = Number.POSITIVE_INFINITY) =>
      planOnboard({ ...BASE, lineMs, deadlineMs, offers: { store: { blocks: 10, price: SLOW, blocksPerCopy: 8, waitMs } } });
    const from = (plan: ReturnType<typeof ask>) => [plan.steps[0]?.from, plan.totalMs];
    // 85 ms of moving, 256 ms of computing.
    expect(from(ask(0, 0))).toEqual(['store', 85]);
    expect(from(ask(50, 0))).toEqual(['store', 35]);
    expect(from(ask(1_000, 0))).toEqual(['store', 0]);
    expect(from(ask(0, 600))).toEqual(['recompute', 256]);
    expect(from(ask(0, 60))).toEqual(['store', 105]);
    expect(from(ask(50, 600))).toEqual(['store', 235]);
    // The deadline is that of moving, not of the wait before it.
    expect(from(ask(1_000, 200, 85))).toEqual(['store', 0]);
    expect(from(ask(1_000, 0, 84))).toEqual(['recompute', 256]);
  });

  it('each from the cheapest that has it, the rest computed', () => {
    const plan = planOnboard({
      ...BASE,
      offers: { host: { blocks: 4, price: FAST, blocksPerCopy: 8 }, store: { blocks: 8, price: SLOW, blocksPerCopy: 8 } },
    });
    expect(plan.steps).toEqual([
      { from: 'host', start: 2, end: 4, ms: 3 },
      { from: 'store', start: 4, end: 8, ms: 45 },
      { from: 'recompute', start: 8, end: 10, ms: 64 },
    ]);
    expect(plan.reason).toBe('2 blocks from host, 4 blocks from store: 112.00 ms in all, computing would take 256.00 ms');
  });

  it('a fixed cost is paid only where it is worth it', () => {
    const store = { blocks: 3, price: { fixedMs: 40, msPerMiB: 0, copyMs: 0 }, blocksPerCopy: 8 };
    expect(planOnboard({ ...BASE, offers: { store } }).steps).toMatchObject([{ from: 'recompute', start: 2, end: 10 }]);
  });

  it('copies cost what they cost: contiguous groups win where single blocks lose', () => {
    const price = { fixedMs: 0, msPerMiB: 1, copyMs: 40 };
    const offers = (blocksPerCopy: number) => ({ store: { blocks: 10, price, blocksPerCopy } });
    expect(planOnboard({ ...BASE, offers: offers(8) }).steps).toMatchObject([{ from: 'store' }]);
    expect(planOnboard({ ...BASE, offers: offers(1) }).steps).toMatchObject([{ from: 'recompute' }]);
  });

  it('what does not come within the deadline is computed', () => {
    const offers = { store: { blocks: 10, price: SLOW, blocksPerCopy: 8 } };
    expect(planOnboard({ ...BASE, offers, deadlineMs: 85 }).steps).toMatchObject([{ from: 'store' }]);
    expect(planOnboard({ ...BASE, offers, deadlineMs: 84 }).steps).toMatchObject([{ from: 'recompute' }]);
  });

  it('only what is faster to read than to compute is worth keeping', () => {
    const offer = { blocks: 0, price: rateLink(2 ** 20 * 100), blocksPerCopy: 8 };
    const question = { offer, blockTokens: 16, bytesPerBlock: 2 ** 20 };
    expect(isWorthKeeping(8, { ...question, prefillMs: (tokens) => tokens })).toBe(true);
    expect(isWorthKeeping(8, { ...question, prefillMs: (tokens) => tokens / 2 })).toBe(false);
  });

  it('is never worse than computing all, covers every block once, and no better plan of its kind exists', () => {
    const price = fc.record({
      fixedMs: fc.double({ min: 0, max: 50, noNaN: true }),
      msPerMiB: fc.double({ min: 0, max: 50, noNaN: true }),
      copyMs: fc.constant(0),
    });
    const offer = fc.record({ blocks: fc.nat(20), price, blocksPerCopy: fc.constant(8) });
    fc.assert(
      fc.property(fc.nat(20), fc.nat(20), fc.tuple(offer, offer, offer), (blocks, resident, [host, peer, store]) => {
        const question = { ...BASE, blocks, resident: Math.min(blocks, resident), offers: { host, peer, store } };
        const plan = planOnboard(question);
        expect(plan.totalMs).toBeLessThanOrEqual(plan.recomputeMs + 1e-9);
        let at = question.resident;
        for (const step of plan.steps) {
          expect(step.start).toBe(at);
          expect(step.end).toBeGreaterThan(at);
          if (step.from !== 'recompute') expect(step.end).toBeLessThanOrEqual(question.offers[step.from].blocks);
          at = step.end;
        }
        expect(at).toBe(blocks);
        // Any one source alone, to its end.
        for (const { blocks: has, price: of } of [host, peer, store]) {
          const end = Math.min(blocks, has);
          if (end <= question.resident) continue;
          const alone = moveMs(of, (end - question.resident) * 2 ** 20, 1) + (blocks - end) * 32;
          expect(plan.totalMs).toBeLessThanOrEqual(alone + 1e-9);
        }
      }),
    );
  });

  it('reads what the plan reads, where a router asks for that alone', () => {
    const ms = fc.double({ min: 0, max: 100, noNaN: true });
    const price = fc.record({
      fixedMs: ms,
      msPerMiB: fc.double({ min: 0, max: 40, noNaN: true }),
      copyMs: fc.double({ min: 0, max: 10, noNaN: true }),
    });
    const some = { price, blocksPerCopy: fc.integer({ min: 1, max: 8 }), waitMs: ms };
    const store = fc.record({ ...some, blocks: fc.nat(20) });
    // Most peers have all, since they compute it: that is what is chosen without a plan.
    const peer = fc.record({ ...some, blocks: fc.oneof({ weight: 4, arbitrary: fc.constant(20) }, { weight: 1, arbitrary: fc.nat(20) }) });
    const sizes = fc.record({ blocks: fc.nat(20), resident: fc.nat(8), deadlineMs: fc.nat(400), lineMs: fc.nat(100) });
    fc.assert(
      fc.property(sizes, store, fc.option(peer), (asked, store, peer) => {
        const offers = peer === null ? { store } : { store, peer };
        const question = { ...BASE, ...asked, resident: Math.min(asked.blocks, asked.resident), offers };
        expect(planReading(question)).toEqual(storeStep(planOnboard(question)));
      }),
      { numRuns: 5_000 },
    );
  });
});
