/** The status of a KVTier, out of what its users say of it. Pure. */
import { type ConditionReason, type KvTierManifest, type KvTierStatus, MAX_NAMED_USERS } from '../../api/index.ts';
import { type ConditionContext, resourceCondition } from '../servingdeployment/resourcestatus.ts';
import type { Condition } from '../servingdeployment/status.ts';
import type { TierUse } from './plan.ts';

/** Users that a message names. */
const MAX_SHOWN = 8;

export interface TierSeen {
  /** Null = it cannot be acted on. */
  readonly spec: KvTierManifest['spec'] | null;
  /** Why it cannot. */
  readonly errors: readonly string[];
  readonly users: readonly TierUse[];
  readonly parts: number;
}

export function tierStatus({ spec, errors, users, parts }: TierSeen, context: ConditionContext): KvTierStatus {
  const sorted = [...users].sort((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1));
  const ready = users.filter((user) => user.ready === 'True').length;
  const conditions = spec === null ? refused(errors) : told(sorted, ready);
  return {
    observedGeneration: context.generation,
    conditions: conditions.map((one) => resourceCondition(one, context)),
    users: sorted.slice(0, MAX_NAMED_USERS).map((user) => ({ name: user.name, ready: user.ready, reason: user.reason })),
    userCount: users.length,
    usersReady: `${ready}/${users.length}`,
    ...(spec?.store === undefined ? {} : { parts, store: placeOf(spec.store) }),
  };
}

const RANKS = { False: 0, Unknown: 1, True: 2 } as const;
const rank = ({ ready }: TierUse) => RANKS[ready];

function placeOf({ directory, redis, scope, capacity }: NonNullable<KvTierManifest['spec']['store']>): string {
  return `${redis?.url ?? directory?.path ?? ''}, ${capacity} per ${scope.toLowerCase()}`;
}

function refused(errors: readonly string[]): Condition[] {
  const message = `its users go on with what they have until this is mended: ${errors.join('; ')}`;
  return [
    { type: 'Ready', status: false, reason: 'InvalidSpec', message },
    { type: 'Stalled', status: true, reason: 'InvalidSpec', message },
    { type: 'Reconciling', status: false, reason: 'InvalidSpec', message: 'the spec cannot be acted on' },
  ];
}

function told(users: readonly TierUse[], ready: number): Condition[] {
  const [failing, waiting] = (['False', 'Unknown'] as const).map((word) => users.filter((user) => user.ready === word));
  const of = `of ${users.length} ServingDeployment${users.length === 1 ? '' : 's'} that name it`;
  const say = (type: 'Ready' | 'Reconciling', status: boolean, reason: ConditionReason, message: string): Condition => ({
    type,
    status,
    reason,
    message,
  });
  const rolling = waiting?.length ? `${waiting.length} ${of} run without its present spec so far: ${listed(waiting)}` : null;
  const policies: readonly (Condition | null)[] = [
    users.length === 0 ? say('Ready', true, 'Unused', 'no ServingDeployment names it, so nobody has tried its servers') : null,
    failing?.length ? say('Ready', false, 'UserNotReady', `${failing.length} ${of} cannot use it: ${listed(failing)}`) : null,
    rolling === null ? null : say('Ready', false, 'UsersRolling', rolling),
  ];
  return [
    policies.find((one) => one !== null) ?? say('Ready', true, 'UsersReady', `${ready} ${of} use it`),
    { type: 'Stalled', status: false, reason: 'NothingKeepsFailing', message: 'its users say what fails' },
    rolling === null
      ? say('Reconciling', false, 'Settled', 'all users have taken it up')
      : say('Reconciling', true, 'UsersRolling', rolling),
  ];
}

function listed(users: readonly TierUse[]): string {
  const shown = users.slice(0, MAX_SHOWN).map(({ name, reason, message }) => `${name} (${reason}: ${message})`);
  return shown.join('; ') + (users.length > MAX_SHOWN ? `; and ${users.length - MAX_SHOWN} more` : '');
}
