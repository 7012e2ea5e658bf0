import { describe, expect, it } from 'vitest';
import { FakeClock, sleep } from './clock.ts';

/** Whether it has resolved by now. */
async function isOver(sleeping: Promise<void>): Promise<boolean> {
  const turn = new Promise<false>((resolve) => setImmediate(() => resolve(false)));
  return Promise.race([sleeping.then(() => true), turn]);
}

describe('sleep', () => {
  it('ends with its time or with the first of its signals, and at once when one has fallen', async () => {
    const clock = new FakeClock();
    const [first, second] = [new AbortController(), new AbortController()];
    const both = () => sleep(clock, 100, first.signal, undefined, second.signal);
    const timed = both();
    expect(await isOver(timed)).toBe(false);
    clock.advance(100);
    expect(await isOver(timed)).toBe(true);
    const woken = both();
    second.abort();
    expect(await isOver(woken)).toBe(true);
    expect(await isOver(both())).toBe(true);
  });
});
