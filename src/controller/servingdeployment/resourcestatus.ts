/** The status of a deployment in the form in which the resource carries it. Pure. */
import type { ServingDeploymentStatus } from '../../api/index.ts';
import type { Condition, RoleStatus, Status } from './status.ts';

export interface ConditionContext {
  /** `metadata.generation` of the spec that the status is about. */
  readonly generation: number;
  /** Now, in ISO 8601. */
  readonly now: string;
  /** What the resource says so far: a condition that stays as it is keeps its time. */
  readonly before: Pick<ServingDeploymentStatus, 'conditions'> | null;
}

export interface StatusContext extends ConditionContext {
  readonly before: ServingDeploymentStatus | null;
}

/** What the resource says of the KVTier that was found for it. */
export type FoundTier = NonNullable<ServingDeploymentStatus['kvTier']>;

/** Longest message of a condition, in characters. */
const MAX_MESSAGE = 4_096;

export function resourceStatus(status: Status, context: StatusContext, tier: FoundTier | null = null): ServingDeploymentStatus {
  return {
    observedGeneration: context.generation,
    conditions: status.conditions.map((condition) => resourceCondition(condition, context)),
    roles: status.roles.map((role) => ({ ...role, instances: shownInstances(role) })),
    revision: status.revision,
    ...(tier === null ? {} : { kvTier: tier }),
    ...(status.url === null ? {} : { url: status.url }),
  };
}

function shownInstances({ ready, desired }: RoleStatus): string {
  return `${ready}/${desired}`;
}

export function resourceCondition({ type, status, reason, message }: Condition, { generation, now, before }: ConditionContext) {
  const word = status ? ('True' as const) : ('False' as const);
  const earlier = before?.conditions?.find((one) => one.type === type);
  return {
    type,
    status: word,
    reason,
    message: message.slice(0, MAX_MESSAGE),
    lastTransitionTime: earlier?.status === word ? earlier.lastTransitionTime : now,
    observedGeneration: generation,
  };
}
