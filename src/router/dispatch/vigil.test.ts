import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../shared/index.ts';
import { openEndpoint } from '../instances/endpoint.ts';
import { Instance } from '../instances/instance.ts';
import { Vigil } from './vigil.ts';

function instance(): Instance {
  const published = openEndpoint('http://127.0.0.1:1', new FakeClock());
  return new Instance({ id: 'p', incarnation: 'i', role: 'prefill', published, now: 0 });
}

/** Says nothing for so long. */
function hush(one: Instance, ms: number): void {
  for (let now = 100; now <= ms; now += 100) one.pulse.tick(now, 100);
}

describe('Vigil', () => {
  it('bounds every stage by the end of the request', () => {
    const vigil = new Vigil(1_000);
    expect([vigil.look(999), vigil.look(1_000)]).toEqual([null, 'total']);
    vigil.enter('prefill', instance(), 100, 300);
    expect([vigil.look(399), vigil.look(400)]).toEqual([null, 'deadline']);
    vigil.enter('idle', instance(), 100, 5_000);
    expect([vigil.look(999), vigil.look(1_000)]).toEqual([null, 'total']);
    vigil.extend(200, 300);
    expect(vigil.look(500)).toBe('deadline');
  });

  it('looks at a silent instance again after a while when there was no other way', () => {
    const vigil = new Vigil(100_000);
    const silent = instance();
    vigil.enter('prefill', silent, 0, 50_000);
    hush(silent, 1_100);
    expect([vigil.look(1_100), vigil.silence]).toEqual(['silent', { ms: 1_100, of: 'instance' }]);
    vigil.bear(1_100);
    expect([vigil.look(1_349), vigil.look(1_350)]).toEqual([null, 'silent']);
  });

  it('hears the silence of either of two that work on a stage together, until the next one', () => {
    const vigil = new Vigil(100_000);
    const [working, waiting] = [instance(), instance()];
    vigil.enter('prefill', working, 0, 50_000);
    vigil.alsoOn(waiting);
    hush(waiting, 1_100);
    expect([vigil.look(1_100), vigil.silent]).toEqual(['silent', waiting]);
    vigil.enter('firstToken', working, 1_100, 50_000);
    expect(vigil.look(1_101)).toBeNull();
  });

  it('gives a slow leg half of its time more when there was no better way', () => {
    const vigil = new Vigil(100_000);
    vigil.enter('prefill', instance(), 1_000, 50_000);
    vigil.slowAfter(5_000);
    expect([vigil.look(5_999), vigil.look(6_000)]).toEqual([null, 'slow']);
    vigil.bear(6_000);
    expect([vigil.look(8_499), vigil.look(8_500)]).toEqual([null, 'slow']);
    vigil.enter('firstToken', instance(), 8_500, 50_000);
    expect(vigil.look(50_000)).toBeNull();
  });

  it('does not count a standstill, but for the whole request and for leases', () => {
    const vigil = new Vigil(10_000);
    vigil.enter('prefill', instance(), 0, 3_000);
    vigil.slowAfter(2_000);
    vigil.delay(4_000);
    expect([vigil.look(5_999), vigil.look(6_000), vigil.look(7_000)]).toEqual([null, 'slow', 'deadline']);
    expect(vigil.elapsedMs(6_000)).toBe(2_000);
    vigil.delay(60_000);
    expect(vigil.look(10_000)).toBe('total');
    const leased = new Vigil(10_000);
    leased.enter('firstToken', instance(), 100, 9_000);
    leased.liveBy(900);
    leased.delay(4_000);
    expect(leased.look(1_000)).toBe('lapsed');
  });

  it('wants a sign of life from after the leg began, by the time that a lease is over', () => {
    const vigil = new Vigil(10_000);
    const one = instance();
    one.pulse.told(0, 90);
    vigil.enter('firstToken', one, 100, 9_000);
    vigil.liveBy(900);
    expect([vigil.look(999), vigil.look(1_000)]).toEqual([null, 'lapsed']);
    one.pulse.told(850, 950);
    expect(vigil.look(1_000)).toBe('lapsed');
    one.pulse.told(0, 950);
    expect(vigil.look(1_000)).toBeNull();
  });

  it('does not take a client that does not read for an instance that says nothing', () => {
    const vigil = new Vigil(10_000);
    const one = instance();
    vigil.enter('idle', one, 0, 1_000);
    vigil.suspend();
    hush(one, 5_000);
    expect(vigil.look(5_000)).toBeNull();
    vigil.enter('idle', one, 5_000, 1_000);
    expect(vigil.look(5_000)).toBe('silent');
  });
});
