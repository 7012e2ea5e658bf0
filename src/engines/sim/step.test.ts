import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FREE_COSTS } from '../../api/facts/index.ts';
import { DEFAULT_SIM_COSTS } from './costs.ts';
import { planStep } from './step.ts';

const sequence = (computed: number, target: number, length = target) => ({ computed, target, length, decoding: computed >= target });

describe('planStep', () => {
  it('has nothing to do for nobody', () => expect(planStep([], new Set(), { costs: DEFAULT_SIM_COSTS, chunkTokens: 8 })).toBeNull());

  it('gives the chunk to prompts in their order and one token to every decode', () => {
    const [decode, first, second] = [sequence(5, 5, 9), sequence(0, 6), sequence(0, 6)];
    const costs = { ...FREE_COSTS, prefillFixed: 100, prefillPerToken: 1, stepFixed: 10, stepPerSequence: 2, stepPerContextToken: 0.5 };
    const step = planStep([decode, first, second], new Set([second]), { costs, chunkTokens: 8 });
    expect(step?.decodes).toEqual([decode]);
    expect(step?.prefills).toEqual([
      { sequence: first, tokens: 6, first: false },
      { sequence: second, tokens: 2, first: true },
    ]);
    expect(step?.ms).toBe(6 + 2 + 100 + 10 + 2 + 4.5);
  });

  it('costs the same in chunks as at once', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), fc.integer({ min: 1, max: 700 }), fc.nat(3000), (uncached, chunkTokens, cached) => {
        let ms = 0;
        for (let computed = cached; computed < cached + uncached; computed += chunkTokens) {
          const prompt = sequence(computed, cached + uncached);
          ms += planStep([prompt], computed === cached ? new Set([prompt]) : new Set(), { costs: DEFAULT_SIM_COSTS, chunkTokens })?.ms ?? 0;
        }
        const { prefillFixed, prefillPerToken, prefillPerTokenContext } = DEFAULT_SIM_COSTS;
        const whole = prefillFixed + prefillPerToken * uncached + prefillPerTokenContext * uncached * (cached + uncached / 2);
        expect(ms).toBeCloseTo(whole, 6);
      }),
    );
  });
});
