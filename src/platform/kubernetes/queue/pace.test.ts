import fc from 'fast-check';
import { expect, it } from 'vitest';
import { fullBucket, takeToken } from './pace.ts';

it('never allows more than burst + rate x time, and always the next one after the wait it names', () => {
  const gaps = fc.array(fc.nat(400), { minLength: 1, maxLength: 80 });
  fc.assert(
    fc.property(gaps, fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 10 }), (waits, perSecond, burst) => {
      const pace = { perSecond, burst };
      let bucket = fullBucket(pace, 0);
      let nowMs = 0;
      let taken = 0;
      for (const gap of waits) {
        nowMs += gap;
        const tried = takeToken(pace, bucket, nowMs);
        bucket = tried.bucket;
        if (tried.waitMs === 0) taken += 1;
        else {
          nowMs += tried.waitMs;
          const again = takeToken(pace, bucket, nowMs);
          expect(again.waitMs).toBe(0);
          bucket = again.bucket;
          taken += 1;
        }
        expect(taken).toBeLessThanOrEqual(burst + (nowMs * perSecond) / 1000 + 1e-6);
      }
    }),
    // Fractions that add up to a hair less than one.
    { examples: [[[0, 56, 198, 39, 310, 0], 1, 3]] },
  );
});
