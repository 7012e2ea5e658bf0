import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../shared/index.ts';
import { openEndpoint } from '../instances/endpoint.ts';
import { Instance } from '../instances/instance.ts';
import { giveUp, overdueFault } from './surrender.ts';
import { Vigil } from './vigil.ts';

const clock = new FakeClock();
const instance = (id: string, role: 'prefill' | 'decode') =>
  new Instance({ id, incarnation: id, role, published: openEndpoint('http://127.0.0.1:1', clock), now: 0 });
const [prefill, decode] = [instance('p', 'prefill'), instance('d', 'decode')];

interface There {
  readonly concurrent: boolean;
  /** Without whom the request could still be served. */
  readonly spared: readonly Instance[];
  readonly otherTtftMs?: number;
}

function attempt({ concurrent, spared, otherTtftMs = 100 }: There) {
  const hasOther = (without: readonly Instance[]) => without.every((one) => spared.includes(one));
  const other = (without: readonly Instance[]) => (hasOther(without) ? { decision: { chosen: { ttftMs: otherTtftMs } } } : null);
  return { choice: { prefill, decode }, speech: { concurrent }, predictedPrefillMs: 50, hasOther, other };
}

/** Prefill has taken 6 s. */
function slow(there: There) {
  const vigil = new Vigil(600_000);
  vigil.enter('prefill', prefill, 0, 30_000);
  const booking = attempt(there);
  return giveUp('slow', { vigil, booking, canLeave: booking.hasOther }, 6_000);
}

describe('slow prefill', () => {
  it('is the fault of the prefill instance where nobody waits for another', () => {
    const fault = slow({ concurrent: false, spared: [prefill] });
    expect(fault).toMatchObject({ culprit: prefill, error: { code: 'deadline_exceeded' } });
    expect([fault?.partner, fault?.innocent]).toEqual([undefined, undefined]);
  });

  it('is held against neither of two that wait for each other: both are left out', () => {
    expect(slow({ concurrent: true, spared: [prefill, decode] })).toMatchObject({ culprit: prefill, partner: decode, innocent: true });
  });

  it('leaves out the one of the two that can be spared', () => {
    expect(slow({ concurrent: true, spared: [decode] })).toMatchObject({ culprit: decode, innocent: true });
    expect(slow({ concurrent: true, spared: [prefill] })).toMatchObject({ culprit: prefill, innocent: true });
  });

  it('is waited for where nobody else could do it, or not sooner than it has taken', () => {
    expect(slow({ concurrent: true, spared: [] })).toBeNull();
    expect(slow({ concurrent: true, spared: [prefill, decode], otherTtftMs: 7_000 })).toBeNull();
  });
});

describe('overdue prefill', () => {
  it('is held against neither of two that wait for each other', () => {
    expect(overdueFault(attempt({ concurrent: true, spared: [prefill, decode] }))).toMatchObject({ partner: decode, innocent: true });
    expect(overdueFault(attempt({ concurrent: true, spared: [] }))).toMatchObject({ culprit: decode, innocent: true });
    expect(overdueFault(attempt({ concurrent: false, spared: [] })).innocent).toBeUndefined();
  });
});
