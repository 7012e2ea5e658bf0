import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Deadlines } from './deadlines.ts';

it('gives entries in order of time, and only those that are due', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(50)), fc.nat(50), (times, now) => {
      const deadlines = new Deadlines<number>();
      for (const at of times) deadlines.add(at, at);
      const due: number[] = [];
      for (let at = deadlines.takeDue(now); at !== undefined; at = deadlines.takeDue(now)) due.push(at);
      expect(due).toEqual(times.filter((at) => at <= now).sort((a, b) => a - b));
      expect(deadlines.size).toBe(times.length - due.length);
      expect(deadlines.next).toBe(Math.min(...times.filter((at) => at > now)));
    }),
  );
});

it('keeps its order when entries are swept out', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(50)), (times) => {
      const deadlines = new Deadlines<number>();
      for (const at of times) deadlines.add(at, at);
      deadlines.keep((at) => at % 3 !== 0);
      deadlines.add(25, 25);
      const rest: number[] = [];
      for (let at = deadlines.takeNext(); at !== undefined; at = deadlines.takeNext()) rest.push(at);
      expect(rest).toEqual([...times.filter((at) => at % 3 !== 0), 25].sort((a, b) => a - b));
    }),
  );
});

it('is empty after clear', () => {
  const deadlines = new Deadlines<string>();
  deadlines.add(1, 'a');
  deadlines.clear();
  expect([deadlines.size, deadlines.next, deadlines.takeNext()]).toEqual([0, Number.POSITIVE_INFINITY, undefined]);
});
