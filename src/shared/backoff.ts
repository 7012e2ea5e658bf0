export interface BackoffPolicy {
  readonly firstMs: number;
  readonly maxMs: number;
  readonly factor: number;
}

/**
 * Delay before attempt `attempt` (0 = first retry), exponential and capped, with up to 20 % taken off by `random` in [0, 1)
 * so that many waiters do not wake together.
 */
export function backoffMs(policy: BackoffPolicy, attempt: number, random: number): number {
  const full = Math.min(policy.maxMs, policy.firstMs * policy.factor ** Math.max(0, attempt));
  return full * (1 - 0.2 * random);
}
