/** What is, measured against what is wanted, in the words of the resource's status. Pure. */
import type { ConditionReason, ConditionType } from '../../api/index.ts';
import type { Observed, ObservedInstance, ObservedRouter, Role } from '../../platform/index.ts';
import type { Done } from './apply.ts';
import { type Desired, deploymentRevision, ROLES } from './desired.ts';
import { isCurrent, isKept, isRoutable, keptRouters, ofRole, poolsFull, replicas } from './world.ts';

/** Failures in a row after which a retry is not expected to help. */
const STALLED_FAILURES = 3;

export interface Condition {
  readonly type: ConditionType;
  readonly status: boolean;
  readonly reason: ConditionReason;
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

/** @param done steps of this round: one that was refused says why something is missing. */
export function status(desired: Desired, observed: Observed, done: readonly Done[] = []): Status {
  const roles = ROLES.map((role) => roleStatus(desired, observed, role)).filter((role) => role.desired + role.ready + role.draining > 0);
  const router = routerCondition(desired, observed, done);
  const pool = (type: ConditionType, role: Role) =>
    poolCondition(type, roles, obstacle(ofRole(observed, role), refusalOf(done, role)), role);
  const prefill = desired.pools.prefill ? [pool('PrefillReady', 'prefill')] : [];
  const decode = pool('DecodeReady', desired.pools.mixed ? 'mixed' : 'decode');
  const parts = [...prefill, decode, router];
  const blocked = parts.find((part) => !part.status);
  const ready: Condition = blocked
    ? { type: 'Ready', status: false, reason: blocked.reason, message: blocked.message }
    : { type: 'Ready', status: true, reason: 'Serving', message: 'every pool has its instances and a request went through them' };
  return {
    // Tools that know kstatus take the first of Stalled and Reconciling that is true, and a stalled deployment is still being worked on.
    conditions: [ready, ...parts, ...kvCondition(desired, observed), stalled(desired, observed, done), reconciling(desired, observed)],
    roles,
    revision: deploymentRevision(desired),
    url: keptRouters(observed)[0]?.url ?? null,
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

function poolCondition(type: ConditionType, roles: readonly RoleStatus[], obstacle: Obstacle | null, role: Role): Condition {
  const counts = roles.find((one) => one.role === role) ?? { desired: 0, ready: 0 };
  const message = `${counts.ready} of ${counts.desired} ${role} instances are ready`;
  if (counts.ready >= counts.desired) return { type, status: true, reason: 'InstancesReady', message };
  if (obstacle === null) return { type, status: false, reason: 'InstancesStarting', message };
  return { type, status: false, reason: `Instances${obstacle.kind}`, message: `${message}; ${obstacle.text}` };
}

interface Obstacle {
  readonly kind: 'Failing' | 'Blocked';
  readonly text: string;
}

/** What keeps one of them from being ready, as far as it is known. */
function obstacle(members: readonly (ObservedInstance | ObservedRouter)[], refusal: string | null): Obstacle | null {
  const failed = members.find(({ failures }) => failures > 0);
  if (failed) return { kind: 'Failing', text: failureText(failed) };
  const blocked = members.find(({ phase, lastError }) => phase === 'starting' && lastError !== null);
  if (blocked) return { kind: 'Blocked', text: `${blocked.name} cannot start: ${blocked.lastError}` };
  return refusal === null ? null : { kind: 'Blocked', text: refusal };
}

/** The first start of this round that was refused: of an instance of `role`, or of a router. */
function refusalOf(done: readonly Done[], role: Role | 'router'): string | null {
  for (const { step, outcome } of done) {
    if (outcome.ok || (step.type !== 'startInstance' && step.type !== 'startRouter')) continue;
    if ((step.type === 'startRouter' ? 'router' : step.spec.role) === role) return `${step.name} cannot be started: ${outcome.message}`;
  }
  return null;
}

function failureText({ name, failures, lastError }: ObservedInstance | ObservedRouter): string {
  return `${name} failed ${failures} times, last: ${lastError ?? 'ended without a word'}`;
}

function routerCondition(desired: Desired, observed: Observed, done: readonly Done[]): Condition {
  const type = 'RouterReady';
  const { replicas } = desired.router;
  const kept = keptRouters(observed);
  const serving = kept.filter(({ phase, serving }) => phase === 'ready' && serving);
  const counted = replicas === 1 ? '' : `${serving.length} of ${replicas} routers serve; `;
  const no = (reason: ConditionReason, message: string): Condition => ({ type, status: false, reason, message: `${counted}${message}` });
  if (serving.length >= replicas) return { type, status: true, reason: 'Serving', message: `${counted}a request went through the pools` };
  const failed = kept.find(({ phase }) => phase === 'failed');
  if (failed) return no('RouterFailing', `${replicas === 1 ? 'the router' : failed.name} ended: ${failed.lastError ?? 'without a word'}`);
  const starting = kept.filter(({ phase }) => phase === 'starting');
  const blocked = obstacle(starting, refusalOf(done, 'router'));
  if (blocked) return no(`Router${blocked.kind}`, blocked.text);
  if (kept.length === 0) return no('RouterMissing', 'no router runs');
  if (starting.length > 0 || kept.length < replicas) return no('RouterStarting', replicas === 1 ? 'the router starts' : 'routers start');
  return no('NoRequestYet', 'no request went through the pools yet');
}

const KV_WORDS = { redis: { name: 'Redis', reason: 'RedisAway' }, nats: { name: 'NATS', reason: 'NatsAway' } } as const;

/** No part of Ready: without these servers requests go on. */
function kvCondition(desired: Desired, observed: Observed): Condition[] {
  const type = 'KVTierReady';
  const { tier = null, kv: servers = [] } = desired;
  if (servers.length === 0 && tier === null) return [];
  if (servers.length === 0) return [{ type, status: true, reason: 'TierApplied', message: `KVTier ${tier} has no server for routers` }];
  const of = tier === null ? '' : ` of KVTier ${tier}`;
  const routers = keptRouters(observed).filter(({ phase, kv }) => phase === 'ready' && kv !== undefined);
  for (const server of servers) {
    const { name, reason } = KV_WORDS[server];
    const away = routers.find(({ kv }) => typeof kv?.[server] === 'string');
    if (away) return [{ type, status: false, reason, message: `${away.name} does without ${name}${of}: ${away.kv?.[server]}` }];
  }
  const names = servers.map((server) => KV_WORDS[server].name).join(' and ');
  const said = routers.length > 0 && servers.every((server) => routers.every(({ kv }) => kv?.[server] === null));
  if (!said) return [{ type, status: false, reason: 'NotSaid', message: `no router has said yet how it gets on with ${names}${of}` }];
  return [{ type, status: true, reason: 'Connected', message: `routers use ${names}${of}` }];
}

function stalled(desired: Desired, observed: Observed, done: readonly Done[]): Condition {
  const type = 'Stalled';
  const instances = observed.instances.filter((instance) => isKept(instance) && isCurrent(desired, instance));
  const failing = [...instances, ...keptRouters(observed)].find(({ phase, failures }) => phase !== 'ready' && failures >= STALLED_FAILURES);
  if (failing) return { type, status: true, reason: 'KeepsFailing', message: failureText(failing) };
  const refusal = (['router', ...ROLES] as const).map((part) => refusalOf(done, part)).find((text) => text !== null);
  if (refusal) return { type, status: true, reason: 'StartRefused', message: refusal };
  return { type, status: false, reason: 'NothingKeepsFailing', message: 'nothing keeps failing' };
}

function reconciling(desired: Desired, observed: Observed): Condition {
  const type = 'Reconciling';
  const yes = (reason: ConditionReason, message: string): Condition => ({ type, status: true, reason, message });
  const endingRouters = observed.routers.filter((router) => router.phase === 'stopping').length;
  const leaving = observed.instances.filter((instance) => !isKept(instance)).length + endingRouters;
  const outdated = observed.instances.filter((instance) => isKept(instance) && !isCurrent(desired, instance)).length;
  const kept = keptRouters(observed);
  const outdatedRouters = kept.filter((router) => router.revision !== desired.router.revision).length;
  const held = desired.paused && outdated + outdatedRouters > 0;
  if (outdated > 0 && !held) return yes('Rolling', `${outdated} instances have an outdated spec`);
  if (outdatedRouters > 0 && !held) return yes('Rolling', `${outdatedRouters} routers have an outdated spec`);
  if (leaving > 0) return yes('Draining', `${leaving} processes are ending`);
  const surplus = ROLES.map((role) => ofRole(observed, role).filter(isKept).length - replicas(desired, role));
  const above = [...surplus, kept.length - desired.router.replicas].filter((count) => count > 0).reduce((sum, count) => sum + count, 0);
  if (above > 0) return yes('Draining', `${above} processes are above the wanted count`);
  if (!isFull(desired, observed)) return yes('Starting', 'instances are starting');
  if (kept.filter(({ serving }) => serving).length < desired.router.replicas) return yes('Starting', 'routers are starting');
  if (held) return { type, status: false, reason: 'Paused', message: pausedText(outdated, outdatedRouters) };
  return { type, status: false, reason: 'Settled', message: 'everything is as wanted' };
}

function isFull(desired: Desired, observed: Observed): boolean {
  const routable = (instance: ObservedInstance) => isRoutable(observed, instance);
  if (!desired.paused) return poolsFull(desired, observed, routable);
  return ROLES.every((role) => ofRole(observed, role).filter(routable).length >= replicas(desired, role));
}

function pausedText(instances: number, routers: number): string {
  return `spec.rollout.paused is true: ${instances} instances and ${routers} routers with an outdated spec are not replaced`;
}
