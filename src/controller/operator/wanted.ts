/** All that follows from a ServingDeployment alone: worked out once for each version of it, because most rounds find nothing new. Pure. */
import { type ResourceResult, readResource, type ServingDeployment, type ServingDeploymentManifest, withTier } from '../../api/index.ts';
import type { Role } from '../../platform/index.ts';
import type { Draft, NetworkPolicy, PodDisruptionBudget, Service } from '../../platform/kubernetes/index.ts';
import { type Desired, desiredOf, ROLES } from '../servingdeployment/desired.ts';
import { budgetDrafts, poolDraft, serviceDraft } from './drafts.ts';
import { networkPolicyDrafts, type OperatorPeers } from './networkpolicies.ts';
import type { DeploymentObject, PoolObject } from './resources.ts';
import { type RevisionRecord, recordOf } from './revisions.ts';
import { OWN, type Source, withEarlier } from './tiers.ts';

export interface Wanted {
  readonly object: DeploymentObject;
  readonly deployment: ServingDeployment;
  readonly spec: ServingDeploymentManifest['spec'];
  /** As the resource has it, with every default: `spec` has servers of before where the KVTier is not there. */
  readonly given: ServingDeploymentManifest['spec'];
  /** Of the servers of its KV tier. */
  readonly source: Source;
  /** With the sizes that the deployment says, whoever scaled its pools. */
  readonly desired: Desired;
  readonly pools: Partial<Record<Role, Draft<PoolObject>>>;
  readonly service: Draft<Service>;
  readonly budgets: readonly Draft<PodDisruptionBudget>[];
  readonly record: RevisionRecord;
  /** Paths of the fields that are written otherwise than this says, because the roll is paused. */
  readonly waiting: readonly string[];
  /** Null = none, and those that are there go. */
  readonly policies: readonly Draft<NetworkPolicy>[] | null;
}

export interface Surroundings {
  /** Container image of routers, and of instances that name none. */
  readonly image: string;
  readonly operatorPeers: OperatorPeers;
}

export type WantedResult = Wanted | { readonly errors: readonly string[] };

/** Or what is wrong with it, in sentences. */
export function wantedOf(object: DeploymentObject, { image, operatorPeers }: Surroundings, source: Source = OWN): WantedResult {
  const written = readResource(object);
  const read = withSource(object, written, source);
  if (!read.ok || !written.ok) return { errors: read.ok ? [] : read.errors };
  const { deployment, spec } = read;
  const errors = needs(deployment);
  if (errors.length > 0) return { errors };
  const desired = desiredOf(deployment, { kind: 'pods', image, replicas: {} });
  const pools: Partial<Record<Role, Draft<PoolObject>>> = {};
  for (const role of ROLES) {
    const draft = poolDraft(object, { spec, desired, source }, role);
    if (draft) pools[role] = draft;
  }
  return {
    object,
    deployment,
    spec,
    given: written.spec,
    source,
    desired,
    waiting: [],
    // Of what is written, whatever goes on meanwhile.
    record: recordOf(object, written.spec),
    pools,
    service: serviceDraft(object, spec),
    budgets: budgetDrafts(object, desired),
    policies: spec.network.policies === 'Managed' && operatorPeers !== null ? networkPolicyDrafts(object, operatorPeers) : null,
  };
}

function withSource(object: DeploymentObject, written: ResourceResult, source: Source): ResourceResult {
  if (!written.ok || source.kind === 'own') return written;
  if (source.kind === 'tier') return { ...written, deployment: withTier(written.deployment, source.tier) };
  return readResource({ ...object, spec: { ...written.spec, kv: withEarlier(written.spec.kv, source.kv) } });
}

/** Other sizes than the deployment's own make another `Desired`, equal in all else. */
export function withSizes(desired: Desired, sizes: Partial<Record<Role, number>>): Desired {
  const pools = { ...desired.pools };
  for (const role of ROLES) {
    const [pool, replicas] = [pools[role], sizes[role]];
    if (pool && replicas !== undefined) pools[role] = { ...pool, replicas };
  }
  return { ...desired, pools };
}

/** What only pods need. */
function needs({ spec: { engine } }: ServingDeployment): string[] {
  const { type, image } = engine;
  if ((type !== 'vllm' && type !== 'sglang') || image !== null) return [];
  return [`spec.engine.image is missing: expected a container image that has ${type}, as engine.type is ${type}`];
}
