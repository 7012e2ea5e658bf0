/** Waiting for an engine to have nothing to do any more. */
import { type Clock, sleep } from '../shared/index.ts';
import type { Logger } from '../telemetry/index.ts';

interface Draining {
  drain(): Promise<void>;
  load(): { readonly running: number; readonly waiting: number; readonly leases: number } | null;
}

/** Asks it to take no more requests and waits for the running ones, at most `drainMs`. */
export async function drained(
  engine: Draining,
  { drainMs, logger, clock }: { readonly drainMs: number; readonly logger: Logger; readonly clock: Clock },
): Promise<void> {
  logger.info({ drainMs }, 'drains');
  const gaveUp = new AbortController();
  const done = engine.drain().then(() => gaveUp.abort());
  await Promise.race([done, sleep(clock, drainMs, gaveUp.signal)]);
  if (gaveUp.signal.aborted) return;
  const { running, waiting, leases } = engine.load() ?? { running: 0, waiting: 0, leases: 0 };
  logger.warn({ running, waiting, leases }, 'the drain deadline passed; what still runs is ended');
}
