/** Our resources as the API server stores them, and how their objects are named. */
import {
  GROUP,
  KIND,
  type KvTierStatus,
  PINNED_KIND,
  type PinnedContextStatus,
  POOL_KIND,
  type ServingDeploymentStatus,
  type ServingPoolStatus,
  TIER_KIND,
  VERSION,
} from '../../api/index.ts';
import type { Role } from '../../platform/index.ts';
import type { KubeObject, OwnerReference, Resource } from '../../platform/kubernetes/index.ts';

export interface DeploymentObject extends KubeObject {
  /** Not trusted: it may be older than the rules. */
  readonly spec?: unknown;
  readonly status?: ServingDeploymentStatus;
}

export interface PoolObject extends KubeObject {
  readonly spec?: { readonly role: Role; readonly replicas?: number; readonly instance: object };
  readonly status?: ServingPoolStatus;
}

export interface TierObject extends KubeObject {
  /** Not trusted: it may be older than the rules. */
  readonly spec?: unknown;
  readonly status?: KvTierStatus;
}

export interface PinnedObject extends KubeObject {
  /** Not trusted: it may be older than the rules. */
  readonly spec?: unknown;
  readonly status?: PinnedContextStatus;
}

/** Owner of the fields that the operator writes. */
export const FIELD_MANAGER = 'sluice-operator';

const common = { group: GROUP, version: VERSION, namespaced: true } as const;

export const SERVING_DEPLOYMENTS: Resource<DeploymentObject> = { ...common, plural: 'servingdeployments', kind: KIND };
export const SERVING_POOLS: Resource<PoolObject> = { ...common, plural: 'servingpools', kind: POOL_KIND };
export const KV_TIERS: Resource<TierObject> = { ...common, plural: 'kvtiers', kind: TIER_KIND };
export const PINNED_CONTEXTS: Resource<PinnedObject> = { ...common, plural: 'pinnedcontexts', kind: PINNED_KIND };

/** Of an object that is not trusted; undefined = it has no such field, or is no object. */
export function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

/** Name of the ServingDeployment that the spec of a PinnedContext names, which need not be sound; null = it names none. */
export function namedDeployment(spec: unknown): string | null {
  const name = fieldOf(fieldOf(spec, 'deploymentRef'), 'name');
  return typeof name === 'string' ? name : null;
}

export function poolName(deployment: string, role: Role): string {
  return `${deployment}-${role}`;
}

/** The one that owns what it makes: garbage collection follows it, and nobody else may take it over. */
export function ownerReference({ apiVersion, kind, metadata: { name, uid } }: KubeObject): OwnerReference {
  return { apiVersion, kind, name, uid, controller: true, blockOwnerDeletion: true };
}

export function isOwnedBy(object: KubeObject, owner: KubeObject): boolean {
  return (object.metadata.ownerReferences ?? []).some(({ uid, controller }) => controller === true && uid === owner.metadata.uid);
}
