import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Burden } from './burden.ts';

describe('work on an instance', () => {
  it('counts what is ours at once, without a report', () => {
    const burden = new Burden();
    burden.add(700);
    burden.add(300);
    expect(burden.all).toBe(1000);
    burden.add(-700);
    expect(burden.all).toBe(300);
  });

  it('adds what others gave it', () => {
    const burden = new Burden();
    burden.add(100);
    burden.reported(450);
    expect(burden.all).toBe(450);
    burden.add(50);
    expect(burden.all).toBe(500);
    burden.lost();
    expect([burden.all, burden.ours]).toEqual([150, 150]);
  });

  it('does not take ours that is over for that of others, when a report or two are late', () => {
    const burden = new Burden();
    burden.add(1000);
    burden.reported(1000);
    burden.add(-1000);
    burden.reported(1000);
    expect(burden.all).toBe(0);
    burden.reported(1000);
    expect(burden.all).toBe(0);
    burden.reported(1000);
    expect(burden.all).toBe(1000);
  });

  it('is never less than ours, and with true reports and nothing under way exactly what is there', () => {
    const steps = fc.array(fc.record({ ours: fc.integer({ min: 0, max: 1000 }), others: fc.integer({ min: 0, max: 1000 }) }), {
      minLength: 1,
    });
    fc.assert(
      fc.property(steps, (history) => {
        const burden = new Burden();
        let last = 0;
        for (const { ours, others } of history) {
          burden.add(ours - burden.ours);
          burden.reported(ours + others);
          expect(burden.all).toBeGreaterThanOrEqual(ours);
          expect(burden.all).toBeLessThanOrEqual(ours + others);
          last = others;
        }
        for (let quiet = 0; quiet < 3; quiet++) burden.reported(burden.ours + last);
        expect(burden.all).toBe(burden.ours + last);
      }),
    );
  });
});
