import { describe, expect, it } from 'vitest';
import { judge, type LeaseSpec, sight } from './verdict.ts';

const HELD: LeaseSpec = { holderIdentity: 'other', leaseDurationSeconds: 2, renewTime: '2026-01-01T00:00:00.000000Z', leaseTransitions: 4 };
const me = (nowMs: number) => ({ identity: 'me', nowMs, durationMs: 15_000 });

describe('a lease of another', () => {
  it('is held for what its holder promised since we first saw this record', () => {
    const seen = sight(null, HELD, 1_000);
    expect(judge(HELD, seen, me(1_000))).toEqual({ kind: 'held', by: 'other', forMs: 2_000 });
    expect(judge(HELD, sight(seen, HELD, 2_999), me(2_999))).toEqual({ kind: 'held', by: 'other', forMs: 1 });
    expect(judge(HELD, sight(seen, HELD, 3_000), me(3_000))).toEqual({ kind: 'free', why: 'expired' });
  });

  it('is held anew by every sign of life, whatever time that names', () => {
    const renewed = { ...HELD, renewTime: '1999-01-01T00:00:00.000000Z' };
    const seen = sight(sight(null, HELD, 0), renewed, 1_900);
    expect(judge(renewed, seen, me(3_800))).toMatchObject({ kind: 'held', forMs: 100 });
  });

  it('that is long past by its own times is held all the same when we see it for the first time', () => {
    const old = { ...HELD, renewTime: '1999-01-01T00:00:00.000000Z' };
    expect(judge(old, sight(null, old, 50), me(50)).kind).toBe('held');
  });

  it('that names no duration is held for ours', () => {
    const { leaseDurationSeconds: _, ...spec } = HELD;
    expect(judge(spec, sight(null, spec, 0), me(14_999))).toMatchObject({ kind: 'held', forMs: 1 });
  });
});

it('a lease without a holder is free at once, ours is ours though it is old', () => {
  const spec = { ...HELD, holderIdentity: '' };
  expect(judge(spec, sight(null, spec, 0), me(0))).toEqual({ kind: 'free', why: 'released' });
  expect(judge({}, sight(null, {}, 0), me(0))).toEqual({ kind: 'free', why: 'released' });
  const mine = { ...HELD, holderIdentity: 'me' };
  expect(judge(mine, sight(null, mine, 0), me(60_000))).toEqual({ kind: 'ours' });
});
