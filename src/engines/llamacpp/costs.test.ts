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

  it('keeps what the warm-up found of long prompts while it sees short ones alone, and corrects it by long ones', () => {
    const meter = new CostMeter();
    const costOf = (u: number, c: number, speed: number) => speed * (1 + 0.1 * u + 8e-5 * u * (c + u / 2));
    for (const [u, c] of [
      [256, 0],
      [256, 256],
      [512, 512],
    ] as const)
      meter.prefilled(u, c, costOf(u, c, 1));
    meter.calibrate();
    const long = () => {
      const { prefillFixed, prefillPerToken, prefillPerTokenContext } = meter.costs();
      return prefillFixed + prefillPerToken * 2000 + prefillPerTokenContext * 2000 * 1000;
    };
    const found = long();
    for (let i = 0; i < 500; i++) meter.prefilled(32, 0, 3 * costOf(32, 0, 1));
    expect(long() / found).toBeGreaterThan(0.8);
    expect(long() / found).toBeLessThan(1.3);
    for (let i = 0; i < 40; i++) meter.prefilled(512, 512 * (i % 4), costOf(512, 512 * (i % 4), 2));
    expect(long() / found).toBeGreaterThan(1.7);
  });

  it('forgets a slow start', () => {
    const meter = new CostMeter();
    meter.stepped(1, 100, 500);
    for (let i = 0; i < 300; i++) meter.stepped(1, 100, 1);
    const { stepFixed, stepPerSequence, stepPerContextToken } = meter.costs();
    expect(stepFixed + stepPerSequence + 100 * stepPerContextToken).toBeLessThan(3);
  });
});
