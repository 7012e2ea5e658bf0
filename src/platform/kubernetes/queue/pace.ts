/** A token bucket: how many starts are allowed now. Pure; the holder keeps the bucket. */
export interface Pace {
  /** In the long run, above 0. */
  readonly perSecond: number;
  /** At once after a quiet time, at least 1. */
  readonly burst: number;
}

export interface Bucket {
  readonly tokens: number;
  /** Monotonic ms at which `tokens` was true. */
  readonly atMs: number;
}

export function fullBucket(pace: Pace, nowMs: number): Bucket {
  return { tokens: pace.burst, atMs: nowMs };
}

/** What additions of fractions may lack of a whole token: who waited as long as was said is not to wait again. */
const ROUNDING = 1e-9;

/** The bucket after one start, or the milliseconds until one is allowed. */
export function takeToken(pace: Pace, bucket: Bucket, nowMs: number): { readonly bucket: Bucket; readonly waitMs: number } {
  const grown = bucket.tokens + (Math.max(0, nowMs - bucket.atMs) * pace.perSecond) / 1000;
  const tokens = Math.min(pace.burst, grown);
  if (tokens >= 1 - ROUNDING) return { bucket: { tokens: Math.max(0, tokens - 1), atMs: nowMs }, waitMs: 0 };
  // Rounded up, or a timer that fires a hair early would start another that is a hair long.
  return { bucket: { tokens, atMs: nowMs }, waitMs: Math.ceil(((1 - tokens) * 1000) / pace.perSecond) };
}
