/** What a ServingDeployment asks for, in terms of the platform. Pure. */
import { createHash } from 'node:crypto';
import type { EngineSpec, RoleSpec, ServingDeployment, ServingDeploymentSpec } from '../../api/index.ts';
import type { InstanceSpec, KvServers, PodSettings, Role, RouterSpec } from '../../platform/index.ts';
import { kvServersOf } from './kvservers.ts';
import { storeOf } from './store.ts';

export interface DesiredPool {
  readonly replicas: number;
  readonly spec: InstanceSpec;
  readonly revision: string;
}

export interface DesiredRouter {
  readonly replicas: number;
  /**
   * `own`: a router holds the address of the deployment for itself, and the next one can start when it has let go. `shared`: something
   * in front of the routers sends requests to all that serve.
   */
  readonly address: 'own' | 'shared';
  readonly spec: RouterSpec;
  readonly revision: string;
}

/** Where a deployment runs. */
export type Target =
  | { readonly kind: 'processes' }
  /** `replicas`: what pools were scaled to, in place of what the deployment says. `image`: for all that names none. */
  | { readonly kind: 'pods'; readonly image: string; readonly replicas: Partial<Record<Role, number>> };

export interface Desired {
  readonly name: string;
  readonly model: string;
  /** Hash of what must be equal for two instances to exchange KV; instances of two families are never mixed. */
  readonly family: string;
  /** A role that is absent is not wanted. */
  readonly pools: Partial<Record<Role, DesiredPool>>;
  readonly router: DesiredRouter;
  /** Nothing that serves is replaced. */
  readonly paused: boolean;
  /** Servers that routers and instances share. */
  readonly kv?: readonly ('redis' | 'nats')[];
  /** Name of the KVTier that they are of; null = they are the deployment's own. */
  readonly tier?: string | null;
  /** Milliseconds after which a draining instance is stopped although requests are still on it. */
  readonly drainTimeoutMs: number;
}

/** More than an hour is not waited for anything. */
const MAX_GRACE_MS = 3_600_000;

export const ROLES: readonly Role[] = ['prefill', 'decode', 'mixed'];

export function desiredOf(deployment: ServingDeployment, target: Target = { kind: 'processes' }): Desired {
  const { metadata, spec } = deployment;
  // How many routers there are and what stands in front of them is no business of a router.
  const { host, port, replicas: wanted, service: _service, tracing, ...settings } = spec.router;
  const config = tracing ? { ...settings, tracing: { ...tracing, ...serviceOf(deployment) } } : settings;
  const { type, dtype, transferBackend } = spec.engine;
  const servers = kvServersOf(deployment, target.kind);
  const kv = servers === null ? {} : { kv: servers };
  const router: RouterSpec = {
    ...kv,
    host,
    port,
    image: target.kind === 'pods' ? target.image : null,
    modelName: spec.model.name,
    config: JSON.stringify(config),
    graceMs: Math.min(config.deadlines.totalMs, MAX_GRACE_MS),
  };
  const store = storeOf(deployment);
  const pool = (role: Role, of: RoleSpec) => desiredPool({ spec, store, target, servers: kv }, role, of);
  const pools: Desired['pools'] = spec.prefill
    ? { prefill: pool('prefill', spec.prefill), decode: pool('decode', spec.decode) }
    : { mixed: pool('mixed', spec.decode) };
  return {
    name: metadata.name,
    model: spec.model.name,
    family: revisionOf({ model: spec.model, engine: type, dtype, blockTokens: spec.kv.blockTokens, ...carriedBy(transferBackend) }),
    pools,
    // The router learns the name of the model with every list of instances.
    router:
      target.kind === 'pods'
        ? { replicas: wanted, address: 'shared', spec: router, revision: revisionOf({ image: target.image, config, ...kv }) }
        : { replicas: 1, address: 'own', spec: router, revision: revisionOf({ host, port, config, ...kv }) },
    paused: spec.rollout.paused,
    kv: servers === null ? [] : (['redis', 'nats'] as const).filter((server) => spec.kv[server] !== null),
    tier: spec.kv.tier,
    drainTimeoutMs: spec.router.deadlines.totalMs,
  };
}

/** What the routers of a deployment are called in traces: as their pods, all of them one service. */
function serviceOf({ metadata: { name, namespace } }: ServingDeployment) {
  return { serviceName: `${name}-router`, serviceNamespace: namespace };
}

/** Hash of all that instances and routers are started with. */
export function deploymentRevision({ family, pools, router }: Desired): string {
  return revisionOf({ family, router: router.revision, pools: ROLES.map((role) => pools[role]?.revision ?? null) });
}

interface PoolOf {
  readonly spec: ServingDeploymentSpec;
  readonly store: ReturnType<typeof storeOf>;
  readonly target: Target;
  readonly servers: { readonly kv?: KvServers };
}

function desiredPool({ spec, store, target, servers }: PoolOf, role: Role, wanted: RoleSpec): DesiredPool {
  const { model, engine, kv } = spec;
  const instance: InstanceSpec = {
    ...servers,
    role,
    engine: engine.type,
    modelName: model.name,
    modelSource: model.source,
    modelRevision: model.revision,
    dtype: engine.dtype,
    accelerator: wanted.accelerator,
    tensorParallel: engine.type === 'vllm' || engine.type === 'sglang' ? wanted.parallelism.tensor : null,
    ...carriedBy(engine.transferBackend),
    contextTokens: engine.contextTokens,
    maxSequences: engine.maxSequences,
    blockTokens: kv.blockTokens,
    hbmBytes: kv.hbmBytes,
    hostBytes: kv.hostBytes,
    leaseMs: kv.leaseMs,
    ...store,
    args: engine.args,
    env: engine.env,
    costs: wanted.costs === null ? null : JSON.stringify(wanted.costs),
    pod: target.kind === 'pods' ? podSettings(engine, wanted, target.image) : null,
  };
  const replicas = target.kind === 'pods' ? (target.replicas[role] ?? wanted.replicas) : wanted.replicas;
  return { replicas, spec: instance, revision: revisionOf(instance) };
}

function carriedBy(transferBackend: EngineSpec['transferBackend']): Pick<InstanceSpec, 'transferBackend'> {
  return transferBackend === null ? {} : { transferBackend };
}

function podSettings({ image, imagePullPolicy }: EngineSpec, { resources, podOverrides }: RoleSpec, own: string): PodSettings {
  return { image: image ?? own, imagePullPolicy, ...resources, overrides: podOverrides };
}

/** A change of any field that a running process would not notice gives another revision. Field order does not count. */
function revisionOf(value: object): string {
  return createHash('sha256').update(canonical(value)).digest('hex').slice(0, 10);
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields.map(([name, field]) => `${JSON.stringify(name)}:${canonical(field)}`).join(',')}}`;
}
