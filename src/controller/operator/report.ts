/** What the resources' statuses say that goes beyond pools and routers: refused specs, objects in the way, other people's scale. Pure. */
import type { ConditionType, ServingDeploymentStatus, ServingPoolStatus } from '../../api/index.ts';
import type { Observed, Role } from '../../platform/index.ts';
import { podSelector } from '../../platform/kubernetes/index.ts';
import { resourceCondition, type StatusContext } from '../servingdeployment/resourcestatus.ts';
import type { Condition, Status } from '../servingdeployment/status.ts';
import { isKept, ofRole } from '../servingdeployment/world.ts';
import type { TierTrouble } from './tiers.ts';

/** Fields that a message names. */
const MAX_SHOWN = 8;

/** The spec cannot be acted on: what runs is left as it is. */
export function refusedStatus(errors: readonly string[], context: StatusContext): ServingDeploymentStatus {
  const message = `nothing is changed until this is mended: ${errors.join('; ')}`;
  const conditions: readonly Condition[] = [
    { type: 'Ready', status: false, reason: 'InvalidSpec', message },
    { type: 'Stalled', status: true, reason: 'InvalidSpec', message },
    { type: 'Reconciling', status: false, reason: 'InvalidSpec', message: 'the spec cannot be acted on' },
  ];
  const { roles, revision, url } = context.before ?? {};
  return {
    observedGeneration: context.generation,
    conditions: conditions.map((one) => resourceCondition(one, context)),
    ...(roles === undefined ? {} : { roles }),
    ...(revision === undefined ? {} : { revision }),
    ...(url === undefined ? {} : { url }),
  };
}

/** Nothing was started yet, and nothing is until the KVTier is there. */
export function awaitedStatus({ reason, message }: TierTrouble, context: StatusContext): ServingDeploymentStatus {
  const conditions: readonly Condition[] = [
    { type: 'Ready', status: false, reason, message },
    { type: 'KVTierReady', status: false, reason, message },
    { type: 'Stalled', status: false, reason: 'NothingKeepsFailing', message: 'nothing keeps failing' },
    { type: 'Reconciling', status: true, reason, message },
  ];
  return { observedGeneration: context.generation, conditions: conditions.map((one) => resourceCondition(one, context)) };
}

/** What runs goes on without the KVTier that is named. */
export function withTierTrouble(status: Status, trouble: TierTrouble | null): Status {
  if (trouble === null) return status;
  const condition: Condition = { type: 'KVTierReady', status: false, ...trouble };
  const others = status.conditions.filter(({ type }) => type !== 'KVTierReady');
  const at = others.findIndex(({ type }) => type === 'Stalled');
  return { ...status, conditions: others.toSpliced(at, 0, condition) };
}

/** @param problems sentences about objects that cannot be had as they should be. */
export function withProblems(status: Status, problems: readonly string[]): Status {
  if (problems.length === 0) return status;
  const message = problems.join('; ');
  const broken: Partial<Record<ConditionType, Condition>> = {
    Ready: { type: 'Ready', status: false, reason: 'ObjectsRefused', message },
    Stalled: { type: 'Stalled', status: true, reason: 'ObjectsRefused', message },
  };
  return { ...status, conditions: status.conditions.map((one) => broken[one.type] ?? one) };
}

/** Adds to the condition of a role that somebody else set its size. */
export function withScale(status: Status, texts: Partial<Record<Role, string>>): Status {
  const extra: Partial<Record<ConditionType, string | undefined>> = {
    PrefillReady: texts.prefill,
    DecodeReady: texts.decode ?? texts.mixed,
  };
  const conditions = status.conditions.map((one) => {
    const text = extra[one.type];
    return text === undefined ? one : { ...one, message: `${one.message}; ${text}` };
  });
  return { ...status, conditions };
}

/** Adds to a roll that is paused what waits for its end. @param waiting paths of fields */
export function withHeld(status: Status, waiting: readonly string[]): Status {
  if (waiting.length === 0) return status;
  const shown = waiting.slice(0, MAX_SHOWN).join(', ') + (waiting.length > MAX_SHOWN ? ` and ${waiting.length - MAX_SHOWN} more` : '');
  const text = `changes that wait while spec.rollout.paused is true: ${shown}`;
  const conditions = status.conditions.map((one): Condition => {
    if (one.type !== 'Reconciling') return one;
    if (one.status) return { ...one, message: `${one.message}; ${text}` };
    return { ...one, reason: 'Paused', message: one.reason === 'Paused' ? `${one.message}; ${text}` : text };
  });
  return { ...status, conditions };
}

export interface PoolIdentity {
  /** Of the ServingDeployment. */
  readonly name: string;
  readonly role: Role;
  /** `metadata.generation` of the pool. */
  readonly generation: number;
}

export function poolStatus({ name, role, generation }: PoolIdentity, observed: Observed, status: Status): ServingPoolStatus {
  const there = ofRole(observed, role);
  const ready = status.roles.find((one) => one.role === role)?.ready ?? there.filter((one) => isKept(one) && one.phase === 'ready').length;
  const selector = Object.entries(podSelector(name, role)).map(([key, value]) => `${key}=${value}`);
  return { observedGeneration: generation, replicas: there.length, readyReplicas: ready, selector: selector.join(',') };
}
