import { describe, expect, it } from 'vitest';
import { CostMeter } from './costs.ts';

describe('CostMeter', () => {
  it('finds the constants behind what was measured', () => {
    const meter = new CostMeter();
    for (let i = 0; i < 200; i++) {
      const tokens = 16 + ((i * 37) % 500);
      const context = (i * 911) % 6000;
      meter.prefilled(tokens, context, 2 + 0.15 * tokens + 2e-5 * tokens * (context + tokens / 2));
      const sequences = 1 + (i % 12);
      const total = sequences * (100 + ((i * 53) % 3000));
      meter.stepped(sequences, total, 0.4 + 0.2 * sequences + 3e-4 * total);
      meter.pulled((1 + (i % 9)) * 2 ** 20, 0.8 + 1.7 * (1 + (i % 9)));
    }
    const costs = meter.costs();
    expect(costs.prefillPerToken).toBeCloseTo(0.15, 2);
    expect(costs.prefillPerTokenContext / 2e-5).toBeCloseTo(1, 1);
    expect(costs.stepPerSequence).toBeCloseTo(0.2, 1);
    expect(costs.stepPerContextToken / 3e-4).toBeCloseTo(1, 1);
    expect(costs.pullFixed).toBeCloseTo(0.8, 0);
    expect(costs.pullPerMiB).toBeCloseTo(1.7, 1);
  });

  it('is never negative and never NaN, whatever it saw', () => {
    const meter = new CostMeter();
    for (const ms of [0, 1000, 0, 5]) meter.prefilled(1, 0, ms);
    meter.stepped(1, 1, 0);
    for (const value of Object.values(meter.costs())) {
      expect(value).toBeGreaterThanOrEqual(0);
      expect(Number.isFinite(value)).toBe(true);
    }
  });

  it('forgets a slow start', () => {
    const meter = new CostMeter();
    meter.stepped(1, 100, 500);
    for (let i = 0; i < 300; i++) meter.stepped(1, 100, 1);
    const { stepFixed, stepPerSequence, stepPerContextToken } = meter.costs();
    expect(stepFixed + stepPerSequence + 100 * stepPerContextToken).toBeLessThan(3);
  });
});
