import { describe, expect, it } from 'vitest';
import { lineWaitMs, prefillChunkMs, prefillMs, pullMs, stepMs, turnMs } from './formulas.ts';

const COSTS = {
  prefillFixed: 2,
  prefillPerToken: 0.5,
  prefillPerTokenContext: 0.001,
  stepFixed: 6,
  stepPerSequence: 0.25,
  stepPerContextToken: 0.01,
  pullFixed: 0.5,
  pullPerMiB: 4,
};

describe('the formulas of EngineCosts', () => {
  it('prefill: 100 tokens after 200, at once and in two chunks', () => {
    expect(prefillMs(COSTS, 100, 200)).toBeCloseTo(2 + 50 + 0.001 * 100 * 250, 9);
    expect(2 + prefillChunkMs(COSTS, 60, 200) + prefillChunkMs(COSTS, 40, 260)).toBeCloseTo(77, 9);
    expect([prefillMs(COSTS, 0, 200), prefillMs(COSTS, -5, 200)]).toEqual([0, 0]);
  });

  it('a step of 4 sequences over 1,000 tokens, and a pull of half a MiB', () => {
    expect(stepMs(COSTS, 4, 1_000)).toBe(6 + 1 + 10);
    expect([pullMs(COSTS, 2 ** 19), pullMs(COSTS, 0), pullMs(COSTS, -1)]).toEqual([2.5, 0, 0]);
  });
});

describe('the wait for a sequence', () => {
  const load = { costs: COSTS, contextTokens: 1_000 };

  it('is none while one is free, and grows with those before: 64 tokens of 17 ms, over four', () => {
    expect([3, 4, 6].map((before) => turnMs(load, 4, before))).toEqual([0, 272, 816]);
  });

  it('counts those that run, those that wait and the prompts of them', () => {
    const burden = { ...load, running: 4, waiting: 2, pendingPrefillTokens: 100 };
    expect(lineWaitMs(burden, 4)).toBeCloseTo(816 + 2 + 50 + 5, 9);
    expect(lineWaitMs({ ...burden, running: 1, waiting: 1, pendingPrefillTokens: 0 }, 4)).toBe(0);
  });
});
