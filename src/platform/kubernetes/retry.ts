/** When a call is tried again, and when: pure. */
import { type BackoffPolicy, backoffMs } from '../../shared/index.ts';
import type { KubernetesError, ServerStatus } from './failure.ts';

export interface RetryPolicy {
  /** All tries, the first included. */
  readonly attempts: number;
  readonly backoff: BackoffPolicy;
  /** A longer `Retry-After` is cut to this. */
  readonly maxRetryAfterMs: number;
}

export const DEFAULT_RETRY: RetryPolicy = { attempts: 5, backoff: { firstMs: 100, maxMs: 5_000, factor: 2 }, maxRetryAfterMs: 30_000 };

/** How one try ended without a usable answer. */
export type Setback =
  | { readonly kind: 'status'; readonly status: ServerStatus }
  | { readonly kind: 'error'; readonly error: KubernetesError };

/** Gateways and servers that are starting, stopping or overloaded; 501 and 505 would not change. */
const PASSING = new Set([429, 500, 502, 503, 504]);

/**
 * Milliseconds until the next try, or null when there is none. `attempt` counts from 0. All our verbs may be repeated: each names its object,
 * and a repeated one meets its own effect as a value (`exists`, `absent`, `changed`).
 */
export function retryAfterMs(policy: RetryPolicy, setback: Setback, attempt: number, random: number): number | null {
  if (attempt + 1 >= policy.attempts) return null;
  const wait = backoffMs(policy.backoff, attempt, random);
  switch (setback.kind) {
    case 'error':
      return setback.error.reason === 'unreachable' || setback.error.reason === 'timeout' ? wait : null;
    case 'status': {
      if (!PASSING.has(setback.status.code)) return null;
      const asked = (setback.status.retryAfterSeconds ?? 0) * 1000;
      return Math.max(wait, Math.min(asked, policy.maxRetryAfterMs));
    }
  }
}
