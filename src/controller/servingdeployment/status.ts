/** What is, measured against what is wanted, in the words of the resource's status. Pure. */
import type { ConditionType } from '../../api/index.ts';
import type { Observed, ObservedInstance, ObservedRouter, Role } from '../../platform/index.ts';
import { type Desired, deploymentRevision, ROLES } from './desired.ts';
import { activeRouter, isCurrent, isKept, isRoutable, ofRole, poolsFull, replicas } from './world.ts';

/** Failures in a row after which a retry is not expected to help. */
const STALLED_FAILURES = 3;

export interface Condition {
  readonly type: ConditionType;
  readonly status: boolean;
  /** CamelCase, few values. */
  readonly reason: string;
  readonly message: string;
}

export interface RoleStatus {
  readonly role: Role;
  readonly desired: number;
  readonly ready: number;
  readonly updated: number;
  readonly draining: number;
}

export interface Status {
  readonly conditions: readonly Condition[];
  readonly roles: readonly RoleStatus[];
  readonly revision: string;
  readonly url: string | null;
}

export function status(desired: Desired, observed: Observed): Status {
  const roles = ROLES.map((role) => roleStatus(desired, observed, role)).filter((role) => role.desired + role.ready + role.draining > 0);
  const router = routerCondition(observed);
  const prefill = desired.pools.prefill ? [poolCondition('PrefillReady', observed, roles, 'prefill')] : [];
  const decode = poolCondition('DecodeReady', observed, roles, desired.pools.mixed ? 'mixed' : 'decode');
  const parts = [...prefill, decode, router];
  const blocked = parts.find((part) => !part.status);
  const ready: Condition = blocked
    ? { type: 'Ready', status: false, reason: blocked.reason, message: blocked.message }
    : { type: 'Ready', status: true, reason: 'Serving', message: 'every pool has its instances and a request went through them' };
  return {
    // Tools that know kstatus take the first of Stalled and Reconciling that is true, and a stalled deployment is still being worked on.
    conditions: [ready, ...parts, stalled(desired, observed), reconciling(desired, observed)],
    roles,
    revision: deploymentRevision(desired),
    url: activeRouter(observed)?.url ?? null,
  };
}

export function condition(of: Status, type: ConditionType): Condition | null {
  return of.conditions.find((one) => one.type === type) ?? null;
}

function roleStatus(desired: Desired, observed: Observed, role: Role): RoleStatus {
  const all = ofRole(observed, role);
  const kept = all.filter(isKept);
  return {
    role,
    desired: replicas(desired, role),
    ready: kept.filter((instance) => isRoutable(observed, instance)).length,
    updated: kept.filter((instance) => isCurrent(desired, instance)).length,
    draining: all.length - kept.length,
  };
}

function poolCondition(type: ConditionType, observed: Observed, roles: readonly RoleStatus[], role: Role): Condition {
  const counts = roles.find((one) => one.role === role) ?? { desired: 0, ready: 0 };
  const message = `${counts.ready} of ${counts.desired} ${role} instances are ready`;
  if (counts.ready >= counts.desired) return { type, status: true, reason: 'InstancesReady', message };
  const failed = ofRole(observed, role).find((instance) => instance.failures > 0);
  if (!failed) return { type, status: false, reason: 'InstancesStarting', message };
  return { type, status: false, reason: 'InstancesFailing', message: `${message}; ${failureText(failed)}` };
}

function failureText({ name, failures, lastError }: ObservedInstance | ObservedRouter): string {
  return `${name} failed ${failures} times, last: ${lastError ?? 'ended without a word'}`;
}

function routerCondition(observed: Observed): Condition {
  const type = 'RouterReady';
  const router = activeRouter(observed);
  if (!router) return { type, status: false, reason: 'RouterMissing', message: 'no router runs' };
  if (router.phase === 'failed') {
    return { type, status: false, reason: 'RouterFailing', message: `the router ended: ${router.lastError ?? 'without a word'}` };
  }
  if (router.phase === 'starting') return { type, status: false, reason: 'RouterStarting', message: 'the router starts' };
  if (!router.serving) return { type, status: false, reason: 'NoRequestYet', message: 'no request went through the pools yet' };
  return { type, status: true, reason: 'Serving', message: 'a request went through the pools' };
}

function stalled(desired: Desired, observed: Observed): Condition {
  const type = 'Stalled';
  const router = activeRouter(observed);
  const wanted = observed.instances.filter((instance) => isKept(instance) && isCurrent(desired, instance));
  const failing = [...wanted, ...(router ? [router] : [])].find(({ phase, failures }) => phase !== 'ready' && failures >= STALLED_FAILURES);
  if (!failing) return { type, status: false, reason: 'NothingKeepsFailing', message: 'nothing keeps failing' };
  return { type, status: true, reason: 'KeepsFailing', message: failureText(failing) };
}

function reconciling(desired: Desired, observed: Observed): Condition {
  const type = 'Reconciling';
  const endingRouters = observed.routers.filter((router) => router.phase === 'stopping').length;
  const leaving = observed.instances.filter((instance) => !isKept(instance)).length + endingRouters;
  const outdated = observed.instances.filter((instance) => isKept(instance) && !isCurrent(desired, instance)).length;
  if (outdated > 0) return { type, status: true, reason: 'Rolling', message: `${outdated} instances have an outdated spec` };
  if (leaving > 0) return { type, status: true, reason: 'Draining', message: `${leaving} processes are ending` };
  if (!poolsFull(desired, observed, (instance) => isRoutable(observed, instance))) {
    return { type, status: true, reason: 'Starting', message: 'instances are starting' };
  }
  return { type, status: false, reason: 'Settled', message: 'everything is as wanted' };
}
