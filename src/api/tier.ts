/**
 * A KVTier as the rest of Sluice sees it, and what it makes of a deployment that names it. Pure: the tier's blocks stand in place of the
 * deployment's own, so that all that follows cannot tell, and need not, where they were written.
 */
import type { KvTierManifest } from './kvtier.ts';
import { kvServers } from './normalise.ts';
import type { EngineSpec, ServingDeployment, ServingDeploymentSpec, StoreTier } from './servingdeployment.ts';

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

/** Engines that are given a store; the others keep their KV themselves. */
const STORING: readonly EngineSpec['type'][] = ['llamacpp', 'sim'];

/** `deployment`, which names this tier, with what the tier has. */
export function withTier(deployment: ServingDeployment, { servers }: KvTier): ServingDeployment {
  const { spec } = deployment;
  const store = STORING.includes(spec.engine.type) ? servers.store : null;
  return { ...deployment, spec: { ...spec, kv: { ...spec.kv, ...servers, store } } };
}
