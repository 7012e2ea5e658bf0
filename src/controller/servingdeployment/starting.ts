/** Policies that bring instances up. */
import type { Observed, ObservedInstance, Role, Step } from '../../platform/index.ts';
import { type BackoffPolicy, backoffMs } from '../../shared/index.ts';
import { type Desired, ROLES } from './desired.ts';
import { isCurrent, isInUse, isKept, ofRole, replicas } from './world.ts';

/** Instances that a roll may add above the wanted count, per pool. */
const SURGE = 1;

export const RESTART_BACKOFF: BackoffPolicy = { firstMs: 250, maxMs: 30_000, factor: 2 };

/** Whether a failed process is due again. The jitter is fixed: few processes of one machine do not wake together. */
export function restartDue(process: { failedMs: number | null; failures: number }, nowMs: number): boolean {
  if (process.failedMs === null) return false;
  return nowMs >= process.failedMs + backoffMs(RESTART_BACKOFF, process.failures - 1, 0);
}

/** Instances that never served and are not wanted any more: outdated ones, and those above the wanted count. */
export function discardUseless(desired: Desired, observed: Observed): Step[] {
  const steps: Step[] = [];
  for (const role of ROLES) {
    const kept = ofRole(observed, role).filter(isKept);
    const current = kept.filter((instance) => isCurrent(desired, instance));
    let surplus = current.length - replicas(desired, role);
    for (const instance of kept) {
      if (instance.phase === 'ready') continue;
      if (!isCurrent(desired, instance)) steps.push(stop(instance, `${instance.phase} with an outdated spec`));
      else if (surplus-- > 0) steps.push(stop(instance, `${instance.phase} and above the ${replicas(desired, role)} wanted`));
    }
    const crashedWhileDraining = ofRole(observed, role).filter((one) => one.drainingSinceMs !== null && one.phase === 'failed');
    steps.push(...crashedWhileDraining.map((instance) => stop(instance, 'ended while it was draining')));
  }
  return steps;
}

function stop(instance: ObservedInstance, reason: string): Step {
  return { type: 'stopInstance', name: instance.name, reason };
}

export function restartFailed(desired: Desired, observed: Observed, nowMs: number): Step[] {
  const steps: Step[] = [];
  for (const role of ROLES) {
    const kept = ofRole(observed, role).filter((instance) => isKept(instance) && isCurrent(desired, instance));
    const failed = kept.filter((instance) => instance.phase === 'failed');
    const surplus = Math.max(0, kept.length - replicas(desired, role));
    for (const instance of failed.slice(surplus)) {
      if (instance.heals || !restartDue(instance, nowMs)) continue;
      steps.push({
        type: 'restartInstance',
        name: instance.name,
        reason: `failure ${instance.failures}: ${instance.lastError ?? 'ended'}`,
      });
    }
  }
  return steps;
}

/**
 * Starts what is missing; while outdated instances of the same family serve, at most `SURGE` above the wanted count. While a roll is paused
 * outdated ones count like current ones.
 */
export function startMissing(desired: Desired, observed: Observed): Step[] {
  const taken = new Set([...observed.instances.map((instance) => instance.name), ...observed.takenNames]);
  const steps: Step[] = [];
  for (const role of ROLES) {
    const pool = desired.pools[role];
    if (!pool) continue;
    const kept = ofRole(observed, role).filter(isKept);
    const current = kept.filter((instance) => isCurrent(desired, instance)).length;
    const rolled = kept.filter(
      (instance) => !isCurrent(desired, instance) && instance.family === desired.family && isInUse(observed, instance),
    );
    const missing = pool.replicas - current;
    const surge = desired.paused ? 0 : SURGE;
    const room = rolled.length === 0 ? missing : Math.min(missing, pool.replicas + surge - current - rolled.length);
    for (let count = 0; count < room; count++) {
      const name = freeName(role, taken);
      const reason = startReason(missing, pool.replicas, rolled.length);
      steps.push({ type: 'startInstance', name, spec: pool.spec, revision: pool.revision, family: desired.family, reason });
    }
  }
  return steps;
}

function startReason(missing: number, wanted: number, outdated: number): string {
  if (outdated > 0) return `takes the place of an outdated one (${outdated} left)`;
  return `${missing} of ${wanted} wanted are missing`;
}

function freeName(role: Role, taken: Set<string>): string {
  let index = 0;
  while (taken.has(`${role}-${index}`)) index++;
  const name = `${role}-${index}`;
  taken.add(name);
  return name;
}
