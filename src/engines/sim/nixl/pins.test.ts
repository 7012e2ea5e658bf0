import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../../shared/index.ts';
import { Pins } from './pins.ts';

function pinned(leaseMs = 100) {
  const clock = new FakeClock();
  const pins = new Pins(clock, leaseMs);
  const freed: string[] = [];
  pins.onFreed = () => freed.push('told');
  const hold = (id: string) => pins.hold(id, () => freed.push(id));
  return { clock, pins, freed, hold };
}

describe('Pins', () => {
  it('frees what was read, and counts whoever comes later', () => {
    const { clock, pins, freed, hold } = pinned();
    hold('a');
    hold('b');
    pins.release('a');
    expect([freed, pins.size]).toEqual([['a', 'told'], 1]);
    pins.release('a');
    clock.advance(1000);
    expect([pins.size, pins.expired, pins.late]).toEqual([0, 1, 1]);
    expect(freed).toEqual(['a', 'told', 'b', 'told']);
  });

  it('frees by time, later when renewed', () => {
    const { clock, pins, freed, hold } = pinned(100);
    hold('a');
    clock.advance(60);
    pins.renew('a');
    clock.advance(60);
    expect([freed, pins.expired]).toEqual([[], 0]);
    clock.advance(40);
    expect([freed, pins.expired]).toEqual([['a', 'told'], 1]);
    pins.renew('a');
    expect(pins.size).toBe(0);
  });

  it('frees once, whatever comes together', () => {
    const { clock, pins, freed, hold } = pinned();
    hold('a');
    hold('a');
    hold('b');
    pins.clear();
    clock.advance(1000);
    expect(freed.filter((id) => id !== 'told')).toEqual(['a', 'a', 'b']);
    expect(pins.expired).toBe(0);
  });
});
