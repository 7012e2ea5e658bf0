/** The conditions of our resources: one vocabulary for the status, its writers and its readers. */

/** Types that kstatus knows by these names have the meaning that it gives them: Ready, Reconciling, Stalled. */
export const CONDITIONS = {
  Ready: {
    settled: true,
    meaning:
      'Every pool has its instances, the router runs, and a request went through them. Of a KVTier: every deployment that names it says KVTierReady. Of a PinnedContext: as many instances hold it as are to.',
  },
  PrefillReady: { settled: true, meaning: 'The prefill pool has all its instances ready. Absent without a prefill pool.' },
  DecodeReady: { settled: true, meaning: 'The pool that decodes (decode, or mixed without a prefill pool) has all its instances ready.' },
  RouterReady: { settled: true, meaning: 'The router runs and a request went through the pools.' },
  KVTierReady: {
    settled: true,
    meaning:
      'Routers use the Redis and the NATS of `kv`, or of the KVTier that it names, which is there. While they are away requests go on without. Absent when neither is named, nor a KVTier.',
  },
  Reconciling: { settled: false, meaning: 'What runs is not yet what is wanted, and work on it goes on: starting, rolling or draining.' },
  Stalled: {
    settled: false,
    meaning:
      'An instance or the router keeps failing, or the spec cannot be acted on; retries go on, but without a change they will hardly help.',
  },
} as const satisfies Readonly<Record<string, { readonly settled: boolean; readonly meaning: string }>>;

export type ConditionType = keyof typeof CONDITIONS;

/** Every reason that a condition may have, with the conditions that have it: what docs/troubleshooting.md explains, by test. */
export const REASONS = {
  Serving: ['Ready', 'RouterReady'],
  InstancesReady: ['PrefillReady', 'DecodeReady'],
  InstancesStarting: ['Ready', 'PrefillReady', 'DecodeReady'],
  InstancesFailing: ['Ready', 'PrefillReady', 'DecodeReady'],
  InstancesBlocked: ['Ready', 'PrefillReady', 'DecodeReady'],
  RouterMissing: ['Ready', 'RouterReady'],
  RouterStarting: ['Ready', 'RouterReady'],
  RouterFailing: ['Ready', 'RouterReady'],
  RouterBlocked: ['Ready', 'RouterReady'],
  NoRequestYet: ['Ready', 'RouterReady'],
  InvalidSpec: ['Ready', 'Stalled', 'Reconciling'],
  ObjectsRefused: ['Ready', 'Stalled'],
  KeepsFailing: ['Stalled'],
  StartRefused: ['Stalled'],
  NothingKeepsFailing: ['Stalled'],
  Starting: ['Reconciling'],
  Rolling: ['Reconciling'],
  Draining: ['Reconciling'],
  Paused: ['Reconciling'],
  Settled: ['Reconciling'],
  NatsAway: ['KVTierReady'],
  RedisAway: ['KVTierReady'],
  NotSaid: ['KVTierReady'],
  Connected: ['KVTierReady'],
  TierMissing: ['KVTierReady', 'Ready', 'Reconciling'],
  TierInvalid: ['KVTierReady', 'Ready', 'Reconciling'],
  TierApplied: ['KVTierReady'],
  UsersReady: ['Ready'],
  Unused: ['Ready'],
  UserNotReady: ['Ready'],
  UsersRolling: ['Ready', 'Reconciling'],
  Resident: ['Ready'],
  Computing: ['Ready', 'Reconciling'],
  PinRefused: ['Ready', 'Reconciling'],
  TooFewInstances: ['Ready', 'Reconciling'],
  RouterSilent: ['Ready', 'Reconciling'],
  DeploymentMissing: ['Ready', 'Reconciling'],
  EngineCannotPin: ['Ready', 'Stalled'],
  DoesNotFit: ['Ready', 'Stalled'],
  NoStore: ['Ready', 'Stalled'],
  TooShort: ['Ready', 'Stalled'],
  ContextExceeded: ['Ready', 'Stalled'],
} as const satisfies Readonly<Record<string, readonly ConditionType[]>>;

export type ConditionReason = keyof typeof REASONS;

/** Whether a condition is as it is when everything runs as wanted and nothing changes. */
export function isSettled({ type, status }: { readonly type: ConditionType; readonly status: boolean }): boolean {
  return status === CONDITIONS[type].settled;
}
