import { describe, expect, it } from 'vitest';
import { requestRecord } from './record.fixture.ts';
import { type RequestRecord, summaryOf } from './record.ts';
import { RecordRing } from './ring.ts';

function record(id: string, synthetic = false): RequestRecord {
  return requestRecord({ id, synthetic, outcome: 'rejected', status: 429, error: 'queue_full: full' });
}

describe('RecordRing', () => {
  it('keeps the last ones, newest first', () => {
    const ring = new RecordRing(3);
    for (const id of ['a', 'b', 'c', 'd']) ring.add(record(id));
    expect(ring.latest(10).map(({ id }) => id)).toEqual(['d', 'c', 'b']);
    expect(ring.latest(1).map(({ id }) => id)).toEqual(['d']);
    expect(ring.get('a')).toBeNull();
    expect(ring.get('b')?.id).toBe('b');
  });

  it('has the newest of an id that came twice, also when the older one leaves', () => {
    const ring = new RecordRing(2);
    ring.add(record('a'));
    const second = record('a');
    ring.add(second);
    ring.add(record('b'));
    expect(ring.get('a')).toBe(second);
    ring.add(record('c'));
    expect(ring.get('a')).toBeNull();
  });

  it('does not list probes', () => {
    const ring = new RecordRing(3);
    ring.add(record('probe', true));
    ring.add(record('a'));
    expect(ring.latest(10).map(({ id }) => id)).toEqual(['a']);
    expect(ring.get('probe')?.synthetic).toBe(true);
  });
});

describe('summaryOf', () => {
  it('says why a request was never placed', () => {
    expect(summaryOf(record('a'))).toMatchObject({ prefill: null, decode: null, why: 'queue_full: full', handOff: null });
  });
});
