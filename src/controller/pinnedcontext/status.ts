/** The status of a PinnedContext, out of what instances say of it. Pure. */
import type { ConditionReason, PinnedContextStatus } from '../../api/index.ts';
import type { PinningInstance } from '../../platform/index.ts';
import { type ConditionContext, resourceCondition } from '../servingdeployment/resourcestatus.ts';
import type { Condition } from '../servingdeployment/status.ts';
import { type Candidate, candidates, computing, type PinName } from './plan.ts';

/** Instances that a message names. */
const MAX_SHOWN = 8;

export interface PinWish extends PinName {
  readonly replicas: number;
  readonly tier: 'host' | 'store';
  /** Name of the ServingDeployment. */
  readonly deployment: string;
}

export type PinSeen =
  /** The spec cannot be acted on. */
  | { readonly kind: 'invalid'; readonly errors: readonly string[] }
  | { readonly kind: 'noDeployment'; readonly wish: PinWish }
  /** @see EngineCannotPin in docs/troubleshooting.md */
  | { readonly kind: 'foreignEngine'; readonly wish: PinWish; readonly engine: string }
  /** No router says what its instances hold. */
  | { readonly kind: 'noRouter'; readonly wish: PinWish }
  /** `refused`: why steps were not done, by instance. */
  | {
      readonly kind: 'instances';
      readonly wish: PinWish;
      readonly instances: readonly PinningInstance[];
      readonly refused: ReadonlyMap<string, string>;
    };

export interface PinTold {
  readonly conditions: readonly Condition[];
  readonly holders: NonNullable<PinnedContextStatus['holders']>;
  readonly tokens: number | null;
  readonly blocks: number | null;
  readonly resident: string | null;
}

export function tellPinned(seen: PinSeen): PinTold {
  if (seen.kind !== 'instances') {
    const resident = seen.kind === 'invalid' ? null : `0/${seen.wish.replicas}`;
    return { conditions: withoutInstances(seen), holders: [], tokens: null, blocks: null, resident };
  }
  const { wish, instances } = seen;
  const able = candidates(wish, instances);
  const holding = able.filter(({ pin }) => pin?.state === 'Held').slice(0, wish.replicas);
  const known = able.find(({ pin }) => pin !== null)?.pin ?? null;
  const holders = holding.map(holderOf).sort((a, b) => (a.instance < b.instance ? -1 : 1));
  return {
    conditions: withInstances(seen, able, holding.length),
    holders,
    tokens: known?.tokens ?? null,
    blocks: known?.blocks ?? null,
    resident: `${holding.length}/${wish.replicas}`,
  };
}

export function pinnedStatus({ conditions, holders, tokens, blocks, resident }: PinTold, context: ConditionContext): PinnedContextStatus {
  const largest = holders.reduce((most, { share }) => Math.max(most, Number.parseFloat(share)), 0);
  return {
    observedGeneration: context.generation,
    conditions: conditions.map((one) => resourceCondition(one, context)),
    ...(tokens === null ? {} : { tokens }),
    ...(blocks === null ? {} : { blocks }),
    bytes: holders.reduce((sum, { bytes }) => sum + bytes, 0),
    holders: [...holders],
    ...(resident === null ? {} : { resident }),
    ...(holders.length === 0 ? {} : { share: percentage(largest / 100) }),
  };
}

function holderOf({ name, memory, pin }: Candidate) {
  const { blocks = 0, bytes = 0, tier = 'host' } = pin ?? {};
  const capacityBytes = tier === 'host' ? memory.capacityBytes : (memory.storeBytes ?? 0);
  return { instance: name, tier, blocks, bytes, share: percentage(bytes / Math.max(1, capacityBytes)) };
}

function percentage(share: number): string {
  return `${(share * 100).toFixed(1)}%`;
}

type Word = 'Ready' | 'Stalled' | 'Reconciling';

function say(type: Word, status: boolean, reason: ConditionReason, message: string): Condition {
  return { type, status, reason, message };
}

const NOT_STALLED = say('Stalled', false, 'NothingKeepsFailing', 'nothing keeps failing');

/** It will not come about without a change. */
function stuck(reason: ConditionReason, message: string): Condition[] {
  return [
    say('Ready', false, reason, message),
    say('Stalled', true, reason, message),
    say('Reconciling', false, 'Settled', 'nothing more is tried but to look again'),
  ];
}

/** It comes about by itself, or when what is missing comes. */
function awaited(reason: ConditionReason, message: string): Condition[] {
  return [say('Ready', false, reason, message), NOT_STALLED, say('Reconciling', true, reason, message)];
}

function withoutInstances(seen: Exclude<PinSeen, { kind: 'instances' }>): Condition[] {
  switch (seen.kind) {
    case 'invalid': {
      const message = `nothing is pinned until this is mended: ${seen.errors.join('; ')}`;
      return [
        say('Ready', false, 'InvalidSpec', message),
        say('Stalled', true, 'InvalidSpec', message),
        say('Reconciling', false, 'InvalidSpec', 'the spec cannot be acted on'),
      ];
    }
    case 'noDeployment':
      return awaited(
        'DeploymentMissing',
        `ServingDeployment ${seen.wish.deployment} is not there: make it (kubectl apply), or delete this`,
      );
    case 'foreignEngine':
      return stuck(
        'EngineCannotPin',
        `${seen.engine} decides by itself what stays of its KV, and has no way to be told: pin on a deployment of llamacpp, or delete this; what its prefix cache keeps is used all the same`,
      );
    case 'noRouter':
      return awaited(
        'RouterSilent',
        `no router of ${seen.wish.deployment} tells what its instances hold: kubectl describe sd ${seen.wish.deployment} says how it gets on`,
      );
  }
}

function withInstances(
  { wish, instances, refused }: PinSeen & { kind: 'instances' },
  able: readonly Candidate[],
  held: number,
): Condition[] {
  const { replicas, deployment } = wish;
  const by = `held by ${held} of ${replicas} instance${replicas === 1 ? '' : 's'}`;
  if (held >= replicas) {
    return [
      say(
        'Ready',
        true,
        'Resident',
        `${held} instance${held === 1 ? ' holds' : 's hold'} it: ${named(able.slice(0, held).map(({ name }) => name))}`,
      ),
      NOT_STALLED,
      say('Reconciling', false, 'Settled', 'it is where it is wanted'),
    ];
  }
  if (able.length < replicas) {
    const unable = computing(instances).flatMap(({ name, usable, memory, why }) =>
      usable && memory !== null ? [] : [`${name} (${memory === null ? why : 'takes no requests now'})`],
    );
    const missing = unable.length === 0 ? '' : `: not ${named(unable)}`;
    const message = `${by}, and ${able.length} of ${deployment} can hold it${missing}; start more, or lower spec.replicas`;
    return awaited('TooFewInstances', message);
  }
  const failures = able.slice(0, replicas).flatMap(({ name, pin }) => (pin?.trouble ? [{ name, ...pin.trouble }] : []));
  const final = failures.find(({ reason }) => isFinal(reason));
  if (final !== undefined && isFinal(final.reason)) {
    return stuck(final.reason, `${by}; ${final.name}: ${final.message}; ${REMEDIES[final.reason]}`);
  }
  const troubles = [...failures.map(({ name, message }) => `${name}: ${message}`), ...[...refused].map(([name, why]) => `${name}: ${why}`)];
  if (troubles.length > 0) return awaited('PinRefused', `${by}; it is tried again: ${named(troubles)}`);
  return awaited('Computing', `${by}; its KV is being computed`);
}

const REMEDIES = {
  NoStore: 'give the deployment one (kv.store, or that of its KVTier), or let spec.tier be host',
  DoesNotFit: 'raise the capacity of the tier (kv.host.capacity, kv.store.capacity), delete other PinnedContexts, or pin less',
  TooShort: 'pin more, or delete this: it is computed as fast as it is found',
  ContextExceeded: 'raise engine.contextTokens of the deployment, or pin less',
} as const satisfies Partial<Record<ConditionReason, string>>;

function isFinal(reason: string): reason is keyof typeof REMEDIES {
  return Object.hasOwn(REMEDIES, reason);
}

function named(names: readonly string[]): string {
  return names.slice(0, MAX_SHOWN).join(', ') + (names.length > MAX_SHOWN ? ` and ${names.length - MAX_SHOWN} more` : '');
}
