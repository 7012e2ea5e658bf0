/** Judges running members by asking them: from `starting` to `ready`, and to its end when it hangs. */
import type { Clock } from '../../shared/index.ts';
import { call, isRecord } from '../probe.ts';
import type { Member } from './member.ts';

export interface ProbeLimits {
  /** From the start of the process until it must be ready, or say that its start goes on (`{type: 'starting'}`); then the same again. */
  readonly startMs: number;
  /** From the start of the process until it must be ready, whatever it says: loading hundreds of gigabytes takes its time. */
  readonly longestStartMs: number;
  readonly answerMs: number;
  /** Time between probes of a ready member. */
  readonly periodMs: number;
  /** Unanswered probes in a row after which a ready member counts as hung. */
  readonly misses: number;
}

export const PROBE_LIMITS: ProbeLimits = { startMs: 60_000, longestStartMs: 3_600_000, answerMs: 2_000, periodMs: 2_000, misses: 5 };

/** Text field of the hello message; null until it came. */
export function told(member: Member, field: string): string | null {
  const value = member.hello?.[field];
  return typeof value === 'string' ? value : null;
}

export function transferOf(member: Member): { host: string; port: number } | null {
  const transfer = member.hello?.['transfer'];
  if (!isRecord(transfer)) return null;
  const { host, port } = transfer;
  return typeof host === 'string' && typeof port === 'number' ? { host, port } : null;
}

/**
 * Asks `GET {url}{path}`; 200 means well. A member that is not ready past its start deadline, or does not answer several times, is
 * killed (and its `onExit` makes it `failed`).
 */
export async function judge(member: Member, path: string, clock: Clock, limits: ProbeLimits): Promise<void> {
  if (!isDue(member, clock.now(), limits)) return;
  member.probedMs = clock.now();
  const startedMs = member.startedMs;
  const url = told(member, 'url');
  const answer = url === null ? null : await call({ url: `${url}${path}`, timeoutMs: limits.answerMs });
  if (member.startedMs !== startedMs || !member.running) return;
  const well = answer?.ok === true && answer.status === 200;
  if (member.phase === 'starting') {
    if (well) member.markReady(clock.now());
    else endLateStart(member, clock.now(), limits);
    return;
  }
  member.silentProbes = well ? 0 : member.silentProbes + 1;
  if (member.silentProbes >= limits.misses) member.kill(`${path} failed ${limits.misses} times in a row`);
}

function endLateStart(member: Member, nowMs: number, { startMs, longestStartMs }: ProbeLimits): void {
  const { startedMs, progressMs } = member;
  if (nowMs - startedMs > longestStartMs) member.kill(`not ready within ${longestStartMs} ms`);
  else if (nowMs - progressMs <= startMs) return;
  else if (progressMs === startedMs) member.kill(`not ready within ${startMs} ms`);
  else member.kill(`not ready, and its start did not go on for ${startMs} ms`);
}

/** Members that start are asked at every look, ready ones now and then. */
function isDue({ phase, probedMs }: Member, nowMs: number, { periodMs }: ProbeLimits): boolean {
  if (phase === 'starting') return true;
  return phase === 'ready' && (probedMs === null || nowMs - probedMs >= periodMs);
}
