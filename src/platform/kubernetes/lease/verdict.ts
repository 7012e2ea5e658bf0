/** Whose a lease is, as far as one contender can know without comparing clocks of two machines: pure. */

/** `coordination.k8s.io/v1`, LeaseSpec. */
export interface LeaseSpec {
  readonly holderIdentity?: string;
  readonly leaseDurationSeconds?: number;
  readonly acquireTime?: string;
  readonly renewTime?: string;
  readonly leaseTransitions?: number;
}

/** A record and when we first saw it. A holder that lives changes its record; how long it stayed the same is measured on our clock alone. */
export interface Sighting {
  readonly record: string;
  /** Our monotonic ms, taken after the answer came. */
  readonly sinceMs: number;
}

export type Verdict =
  | { readonly kind: 'ours' }
  | { readonly kind: 'free'; readonly why: 'released' | 'expired' }
  | { readonly kind: 'held'; readonly by: string; readonly forMs: number };

export function sight(before: Sighting | null, spec: LeaseSpec, nowMs: number): Sighting {
  const record = JSON.stringify([spec.holderIdentity, spec.renewTime, spec.leaseTransitions, spec.leaseDurationSeconds]);
  return before?.record === record ? before : { record, sinceMs: nowMs };
}

/**
 * `durationMs` stands in for a record that names none. `forMs` is how long the holder may go on without a sign of life.
 */
export function judge(
  spec: LeaseSpec,
  sighting: Sighting,
  { identity, nowMs, durationMs }: { identity: string; nowMs: number; durationMs: number },
): Verdict {
  const holder = spec.holderIdentity ?? '';
  if (holder === '') return { kind: 'free', why: 'released' };
  if (holder === identity) return { kind: 'ours' };
  const promisedMs = spec.leaseDurationSeconds === undefined ? durationMs : spec.leaseDurationSeconds * 1000;
  const forMs = sighting.sinceMs + promisedMs - nowMs;
  return forMs > 0 ? { kind: 'held', by: holder, forMs } : { kind: 'free', why: 'expired' };
}
