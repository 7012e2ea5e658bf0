/**
 * A thread that wakes the load generator at planned times. Timers of the event loop have a grain of 1 ms, more than what an idle
 * router adds; a futex wait is good to some 50 µs. Data: {startMs, arrivalsMs} on the machine's monotonic clock.
 */
import { parentPort, workerData } from 'node:worker_threads';

export interface TickerPlan {
  readonly startMs: number;
  readonly arrivalsMs: readonly number[];
}

/** Milliseconds of the monotonic clock, the same in all threads. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

function isPlan(data: unknown): data is TickerPlan {
  return typeof data === 'object' && data !== null && 'startMs' in data && 'arrivalsMs' in data;
}

if (parentPort && isPlan(workerData)) {
  const never = new Int32Array(new SharedArrayBuffer(4));
  const { startMs, arrivalsMs } = workerData;
  for (let index = 0; index < arrivalsMs.length; index += 1) {
    const wait = startMs + (arrivalsMs[index] ?? 0) - monotonicMs();
    if (wait > 0) Atomics.wait(never, 0, 0, wait);
    parentPort.postMessage(index);
  }
}
