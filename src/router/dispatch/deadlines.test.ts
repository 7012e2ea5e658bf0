import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../shared/index.ts';
import { type Watched, Watchman } from './deadlines.ts';

/** A clock of a process that can stand still: its timers do not run then. */
class StoppableClock extends FakeClock {
  #stoodMs = 0;

  override now(): number {
    return super.now() + this.#stoodMs;
  }

  standStill(ms: number): void {
    this.#stoodMs += ms;
  }
}

class One implements Watched {
  place = -1;
  readonly looks: number[] = [];
  readonly delays: number[] = [];

  look(now: number): void {
    this.looks.push(now);
  }

  delayed(ms: number): void {
    this.delays.push(ms);
  }
}

function watched(): { clock: StoppableClock; watchman: Watchman<One>; one: One } {
  const clock = new StoppableClock();
  const watchman = new Watchman<One>(clock);
  const one = new One();
  clock.advance(1_000);
  watchman.watch(one);
  return { clock, watchman, one };
}

describe('Watchman', () => {
  it('looks again and again, until nobody is watched', () => {
    const { clock, watchman, one } = watched();
    clock.advance(150);
    expect(one.looks).toEqual([1_050, 1_100, 1_150]);
    watchman.forget(one);
    clock.advance(500);
    expect(one.looks).toHaveLength(3);
    watchman.watch(one);
    clock.advance(50);
    expect(one.looks).toEqual([1_050, 1_100, 1_150, 1_700]);
    expect(one.delays).toEqual([]);
  });

  it('judges nobody right after a standstill, before what came meanwhile is read', () => {
    const { clock, one } = watched();
    clock.standStill(5_000);
    clock.advance(50);
    expect([one.looks, one.delays]).toEqual([[], [5_000]]);
    clock.advance(50);
    expect(one.looks).toEqual([6_100]);
  });

  it('judges all the same when it is late every time', () => {
    const { clock, one } = watched();
    for (let times = 0; times < 4; times += 1) {
      clock.standStill(1_000);
      clock.advance(50);
    }
    expect(one.delays).toHaveLength(4);
    expect(one.looks).toHaveLength(2);
  });

  it('knows what it has read: nothing since before the standstill, though its timers ran', () => {
    const { clock, watchman } = watched();
    clock.advance(200);
    expect(watchman.readUntil).toBe(1_150);
    clock.standStill(60_000);
    expect(watchman.readUntil).toBe(1_150);
    clock.advance(50);
    expect(watchman.readUntil).toBe(1_200);
    clock.advance(50);
    expect(watchman.readUntil).toBe(61_250);
  });
});
