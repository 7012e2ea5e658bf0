import { expect, it } from 'vitest';
import { FakeClock } from '../../../shared/index.ts';
import { BlockLeases } from './blockleases.ts';

const source = { instance: 'a', incarnation: '1' };

it('lets go of leases that nobody released once they are over, and of no others', () => {
  const clock = new FakeClock();
  const leases = new BlockLeases(clock);
  leases.add({ ...source, id: '0'.repeat(16), keys: ['x', 'y'] }, 100);
  leases.add({ ...source, id: '1'.repeat(16), keys: ['x'] }, 200);
  leases.add({ instance: 'b', incarnation: '1', id: '2'.repeat(16), keys: ['x'] }, 100);
  clock.advance(99);
  leases.dropEnded();
  expect(leases.size).toBe(3);
  clock.advance(1);
  leases.dropEnded();
  expect([leases.size, leases.isLeased(source, 'x'), leases.isLeased(source, 'y')]).toEqual([1, true, false]);
  clock.advance(100);
  leases.dropEnded();
  expect(leases.size).toBe(0);
});
