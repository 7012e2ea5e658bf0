/**
 * How long what a prefill instance answered can be used. A pull after the lease reads blocks of whoever has them by then, and vLLM answers
 * 200 with wrong words. From the moment that the decode instance accepts the request it renews the lease six times in its length; so what
 * has to fit is the way from the prefill instance's answer to that moment. Pure.
 */

/** `kv.lease` has at least so much: what is taken for the lease of an instance that does not tell. */
const LEAST_LEASE_MS = 1_000;
/** For accepting the request, and the first renewal. */
const MARGIN = { share: 1 / 3, leastMs: 1_000, mostShare: 1 / 2 };

/** Age at which a hand-off is too old to be sent to a decode instance, milliseconds. @param leaseMs as the prefill instance says */
export function usableMs(leaseMs: number | null): number {
  const lease = leaseMs ?? LEAST_LEASE_MS;
  return lease - marginMs(lease);
}

/** Age by which the decode instance must have accepted it: the first renewal needs the rest. */
export function acceptableMs(leaseMs: number | null): number {
  const lease = leaseMs ?? LEAST_LEASE_MS;
  return lease - marginMs(lease) / 2;
}

function marginMs(lease: number): number {
  return Math.min(lease * MARGIN.mostShare, Math.max(MARGIN.leastMs, lease * MARGIN.share));
}
