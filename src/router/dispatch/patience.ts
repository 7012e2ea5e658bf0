/**
 * How long a leg is waited for: until its deadline, or until its instance gives no sign of life any more, or, while it prefills, until
 * it takes so much longer than predicted that something must be wrong. Pure.
 */
import type { Silence } from '../instances/pulse.ts';
import type { Stage } from './deadlines.ts';

/** A leg under way. Times are monotonic milliseconds. */
export interface LegView {
  readonly stage: Stage;
  /** The stage has this much time. */
  readonly deadlineAt: number;
  /** The request has this much time. */
  readonly totalAt: number;
  /** From here on it is too slow; Infinity = that is not asked. */
  readonly slowAt: number;
  /** By then its instance must have shown since the leg began that it lives; Infinity = that is not asked. */
  readonly liveBy: number;
  /** Whether it has. */
  readonly lived: boolean;
  /** Of the instance that it is on. */
  readonly silence: Silence | null;
}

/** `total`, `deadline`, `lapsed`: it is over. `silent`, `slow`: another way is better if there is one. */
export type Verdict = 'total' | 'deadline' | 'lapsed' | 'silent' | 'slow' | null;

/** Below this a prefill leg is never too slow: queues that nobody reported, garbage collections, a busy machine. */
const SLOW_FLOOR_MS = 5_000;
/** Times the worst that was seen of late. */
const SLOW_FACTOR = 3;

/** The first of these that holds. */
export function judgeLeg({ stage, deadlineAt, totalAt, slowAt, liveBy, lived, silence }: LegView, now: number): Verdict {
  if (now >= totalAt || (stage === 'total' && now >= deadlineAt)) return 'total';
  if (now >= deadlineAt) return 'deadline';
  if (now >= liveBy && !lived) return 'lapsed';
  if (silence !== null) return 'silent';
  return now >= slowAt ? 'slow' : null;
}

/**
 * When a prefill leg is too slow, milliseconds from its start.
 * @param ratio the worst of measured to predicted times that the instance showed of late
 */
export function slowAfterMs(predictedMs: number, ratio: number): number {
  return Math.max(SLOW_FLOOR_MS, SLOW_FACTOR * ratio * predictedMs);
}

const PLACES = { prefill: 'during prefill', firstToken: 'before the first token', idle: 'between two tokens', total: 'all the while' };

export const LAPSED_TEXT = 'the instance gave no sign of life before the lease of its KV was over';

export function tooLongText(totalMs: number): string {
  return `the request took longer than ${totalMs} ms`;
}

const AWAITED = { prefill: 'prefill', firstToken: 'the first token', idle: 'the next token', total: 'the answer' };

export function overdueText(stage: Stage): string {
  return `${AWAITED[stage]} did not come within its deadline`;
}

/** For records and `explain`. */
export function silenceText({ ms, of }: Silence, stage: Stage): string {
  const who = of === 'instance' ? 'the instance was' : 'the engine was, as its agent says,';
  return `${who} silent for ${seconds(ms)} ${PLACES[stage]}`;
}

export function slowText(elapsedMs: number, predictedMs: number): string {
  return `prefill was not done after ${seconds(elapsedMs)}, predicted ${seconds(predictedMs)}`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
