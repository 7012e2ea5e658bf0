/**
 * The store as instances are told of it, and which part of it is theirs. Pure.
 *
 * A part is what shares one capacity, one order of eviction and one set of names of blocks.
 * - `NAMESPACE.NAME`: of one deployment. Names have no dots, so it is never one of the others.
 * - `NAMESPACE.TIER.HASH`: of all deployments that name a KVTier with scope Model and compute the same KV. The key of a block begins with the
 *   digest of its weights, tokenizer, layout and salt, but it is a name, not a proof: two models would be told apart by it alone, and weights by
 *   samples of their file. So the hash, of all that the resource says of how KV is computed, keeps them in parts of their own.
 *
 * The directory and the event log are always of one deployment: they name instances, and every deployment has a `decode-0`.
 */
import { createHash } from 'node:crypto';
import type { ServingDeployment } from '../../api/index.ts';
import type { InstanceSpec } from '../../platform/index.ts';

/** Null = it has no store. */
export function storePart({ metadata, spec }: ServingDeployment): string | null {
  const { store } = spec.kv;
  if (store === null) return null;
  const { namespace, name } = metadata;
  if (store.tier?.scope !== 'Model') return `${namespace}.${name}`;
  return `${namespace}.${store.tier.name}.${computedBy(spec)}`;
}

/** Equal where equal tokens give equal KV. */
function computedBy({ model, engine, kv }: ServingDeployment['spec']): string {
  const { type, dtype, args, env, contextTokens, maxSequences } = engine;
  // The KV of a simulated engine is that of its name alone.
  const weights = type === 'sim' ? { name: model.name } : { source: model.source, revision: model.revision };
  const variables = Object.entries(env).sort(([a], [b]) => (a < b ? -1 : 1));
  const all = [type, weights, dtype, args, variables, contextTokens, maxSequences, kv.blockTokens];
  return createHash('sha256').update(JSON.stringify(all)).digest('hex').slice(0, 16);
}

/** Names of fields are those of `sluice engine --store`. */
export function storeOf(deployment: ServingDeployment): Pick<InstanceSpec, 'store' | 'storePath' | 'storeSecret'> {
  const { store } = deployment.spec.kv;
  const space = storePart(deployment);
  if (store === null || space === null) return {};
  const { folder, redis, capacityBytes, tenantShare, bytesPerSecond, tier } = store;
  const room = { capacityBytes, tenantShare, ...(bytesPerSecond === null ? {} : { bytesPerSecond }) };
  if (folder !== null) {
    // A path of a deployment is its own; that of a tier is given to several.
    const path = tier === undefined ? folder.path : `${folder.path.replace(/\/+$/, '')}/${space}`;
    return { store: JSON.stringify({ path, ...room }), storePath: path };
  }
  if (redis === null) return {};
  const { url, ttlMs, passwordSecret } = redis;
  const secret = passwordSecret === null ? {} : { storeSecret: passwordSecret };
  return { store: JSON.stringify({ url, space, ttlMs, ...room }), ...secret };
}
