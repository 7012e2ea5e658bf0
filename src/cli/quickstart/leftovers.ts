/** What should be gone a moment after the last request: leases on engines, reservations in the router. */
import { createInterface } from 'node:readline';
import type { Observed } from '../../platform/index.ts';
import { type Clock, request, sleep } from '../../shared/index.ts';

const PATIENCE_MS = 5_000;
const LOOK_MS = 50;
const ANSWER_MS = 2_000;

/** Leases over all engines, as soon as there is none, or what remains after some patience. */
export function leasesOf({ instances }: Observed, clock: Clock): Promise<number> {
  const urls = instances.flatMap((instance) => (instance.phase === 'ready' && instance.address ? [instance.address.url] : []));
  return untilZero(clock, async () => {
    const counts = await Promise.all(urls.map(leasesOfEngine));
    return counts.reduce((sum, count) => sum + count, 0);
  });
}

/** Everything that the router holds for requests: reservations, open legs, places in the queue. */
export function reservationsOf(adminUrl: string, clock: Clock): Promise<number> {
  return untilZero(clock, async () => {
    const response = await fetch(`${adminUrl}/admin/leftovers`, { signal: AbortSignal.timeout(ANSWER_MS) });
    const counts = Object.values((await response.json()) as Record<string, unknown>);
    return counts.reduce<number>((sum, count) => sum + Number(count), 0);
  });
}

async function untilZero(clock: Clock, count: () => Promise<number>): Promise<number> {
  const giveUpMs = clock.now() + PATIENCE_MS;
  for (;;) {
    const left = await count();
    if (left === 0 || clock.now() >= giveUpMs) return left;
    await sleep(clock, LOOK_MS);
  }
}

/** An engine's event stream tells its load at once; the rest of the stream is not wanted. */
function leasesOfEngine(url: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const asking = request(`${url}/sluice/events`, { agent: false, timeout: ANSWER_MS }, (response) => {
      const lines = createInterface({ input: response });
      lines.on('line', (line) => {
        const event = JSON.parse(line) as { type?: string; load?: { leases?: number } };
        if (event.type !== 'load') return;
        resolve(Number(event.load?.leases));
        asking.destroy();
      });
      // Hanging up on purpose ends here too; by then the promise is settled.
      lines.on('error', reject);
      response.on('close', () => reject(new Error(`${url} told no load`)));
    });
    asking.on('timeout', () => asking.destroy(new Error(`${url} does not answer`)));
    asking.on('error', reject);
    asking.end();
  });
}
