/**
 * A KVTier as the rest of Sluice sees it, and what it makes of a deployment that names it. Pure: the tier's blocks stand in place of the
 * deployment's own, so that all that follows cannot tell, and need not, where they were written.
 */
import type { KvTierManifest } from './kvtier.ts';
import { kvServers } from './normalise.ts';
import type { ServingDeployment, ServingDeploymentSpec, StoreTier } from './servingdeployment.ts';

export interface KvTier {
  readonly name: string;
  readonly namespace: string;
  /** Of it, what counts for its users. */
  readonly servers: Pick<ServingDeploymentSpec['kv'], 'store' | 'redis' | 'nats'>;
}

/** @param manifest that parsed */
export function kvTier({ metadata: { name, namespace }, spec }: Pick<KvTierManifest, 'metadata' | 'spec'>): KvTier {
  const { store, ...rest } = kvServers(spec);
  const tier: StoreTier | undefined = spec.store && { name, scope: spec.store.scope };
  return { name, namespace, servers: { ...rest, store: store && (tier === undefined ? store : { ...store, tier }) } };
}

/** `deployment`, which names this tier, with what the tier has. vLLM keeps its KV itself, so a store is none of its. */
export function withTier(deployment: ServingDeployment, { servers }: KvTier): ServingDeployment {
  const { spec } = deployment;
  const store = spec.engine.type === 'vllm' ? null : servers.store;
  return { ...deployment, spec: { ...spec, kv: { ...spec.kv, ...servers, store } } };
}
