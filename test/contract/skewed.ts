import { type Clock, systemClock } from '../../src/shared/index.ts';

/** By how much two processes of a contract are wrong, one each way. */
export const SKEW_MS = 30_000;

/** The clock of a process that is wrong by `ms`, SKEW_MS at most each way; its monotonic time began at another time, too. */
export function skewed(ms: number): Clock {
  return {
    now: () => systemClock.now() + SKEW_MS + ms,
    wall: () => systemClock.wall() + ms,
    after: (delayMs, run) => systemClock.after(delayMs, run),
  };
}
