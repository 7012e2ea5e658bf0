/** What a KVTier is to its users as of now: who gets on with it, and in how many parts its store is. Pure. */
import { type ConditionReason, type KvTier, type ServingDeployment, withTier } from '../../api/index.ts';
import type { DeploymentObject } from '../operator/resources.ts';
import { storePart } from '../servingdeployment/store.ts';

export interface TierUse {
  readonly name: string;
  readonly ready: 'True' | 'False' | 'Unknown';
  /** Its own reason, one of ours where another program did not write the status. */
  readonly reason: string;
  /** For people; empty when all is well. */
  readonly message: string;
}

/** `metadata.generation` is what users must have taken up. */
export interface TierIdentity {
  readonly name: string;
  readonly generation: number;
}

const unknown = (name: string, reason: ConditionReason, message: string): TierUse => ({ name, ready: 'Unknown', reason, message });

/** Policies in order; the first that is met says it. */
export function useOf({ metadata, status }: DeploymentObject, tier: TierIdentity): TierUse {
  const { name } = metadata;
  const condition = (type: string) => status?.conditions?.find((one) => one.type === type);
  const [ready, stalled, reconciling] = [condition('KVTierReady'), condition('Stalled'), condition('Reconciling')];
  if (status?.observedGeneration !== metadata.generation) return unknown(name, 'NotSaid', 'the operator has not looked at it yet');
  if (stalled?.status === 'True' && stalled.reason === ('InvalidSpec' satisfies ConditionReason)) {
    return { name, ready: 'False', reason: stalled.reason, message: stalled.message };
  }
  if (status?.kvTier?.name !== tier.name || status.kvTier.generation !== tier.generation) {
    const paused = reconciling?.reason === ('Paused' satisfies ConditionReason);
    if (paused) return unknown(name, 'Paused', 'its roll is paused, so it goes on with what was before');
    return unknown(name, 'NotSaid', 'it has not taken up the present spec yet');
  }
  if (reconciling?.status === 'True' && reconciling.reason === ('Rolling' satisfies ConditionReason)) {
    return unknown(name, 'Rolling', reconciling.message);
  }
  if (ready === undefined || ready.reason === ('NotSaid' satisfies ConditionReason)) {
    return unknown(name, 'NotSaid', ready?.message ?? 'it says nothing of it yet');
  }
  return { name, ready: ready.status, reason: ready.reason, message: ready.status === 'True' ? '' : ready.message };
}

/** Parts of the store that these deployments have. */
export function partsOf(users: readonly ServingDeployment[], tier: KvTier): number {
  const parts = users.map((user) => storePart(withTier(user, tier)));
  return new Set(parts.filter((part) => part !== null)).size;
}
