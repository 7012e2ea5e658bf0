import { expect, it } from 'vitest';
import { FakeClock } from '../../shared/index.ts';
import type { ResponseHead } from '../upstream/index.ts';
import { PrefillLeg } from './prefill-leg.ts';

const HEAD: ResponseHead = {
  status: 200,
  framing: { kind: 'length', bytes: 2 },
  keepAlive: true,
  contentType: null,
  retryAfter: null,
  report: null,
};

function ageOf(readUntil: number, bodyMs: number): number | null {
  const clock = new FakeClock();
  clock.advance(1_000);
  let age: number | null = null;
  const events = {
    done: ({ ageMs }: { readonly ageMs: number }) => {
      age = ageMs;
    },
    rejected: () => undefined,
    failed: () => undefined,
  };
  const leg = new PrefillLeg(events, clock, () => readUntil);
  clock.advance(30_000);
  leg.head(HEAD);
  clock.advance(bodyMs);
  leg.data(Buffer.from('{}'));
  leg.end();
  return age;
}

it('counts the age of an answer from the last time that it can not have been there', () => {
  expect(ageOf(30_950, 0)).toBe(50);
  expect(ageOf(30_950, 700)).toBe(750);
  // A standstill of the router: the answer may have come in its first moment.
  expect(ageOf(5_000, 10)).toBe(26_010);
  // Not before it was asked for.
  expect(ageOf(0, 0)).toBe(30_000);
});
