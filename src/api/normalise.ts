/** From a manifest that parsed to the domain type: text becomes numbers, absent becomes null. Pure; the schema has checked everything. */
import type { ServingDeploymentManifest } from './schema.ts';
import {
  type EngineSpec,
  FREE_COSTS,
  type NatsSpec,
  type Percentiles,
  type PodOverrides,
  type RedisSpec,
  type RoleSpec,
  type RouterSettings,
  type ServiceLevel,
  type ServingDeployment,
  type SimulatedCosts,
  type StoreSettings,
} from './servingdeployment.ts';
import { durationMs, quantityBytes } from './units.ts';

type Spec = ServingDeploymentManifest['spec'];
type Targets = NonNullable<NonNullable<Spec['slo']>['ttft']>;
type Costs = NonNullable<Spec['engine']['sim']>['costs'];

export function normalise({ apiVersion, kind, metadata, spec }: ServingDeploymentManifest): ServingDeployment {
  const shared = spec.engine.sim?.costs;
  return {
    apiVersion,
    kind,
    metadata,
    spec: {
      model: spec.model,
      engine: engine(spec.engine),
      slo: spec.slo ? serviceLevel(spec.slo) : null,
      prefill: spec.prefill ? role(spec.prefill, shared) : null,
      decode: role(spec.decode, shared),
      kv: {
        blockTokens: spec.kv.blockTokens ?? defaultBlockTokens(spec),
        hbmBytes: bytes(spec.kv.hbm.capacity),
        hostBytes: bytes(spec.kv.host.capacity),
        leaseMs: ms(spec.kv.lease),
        tier: spec.kv.tierRef?.name ?? null,
        ...kvServers(spec.kv),
      },
      router: router(spec.router),
      rollout: { paused: spec.rollout.paused },
    },
  };
}

type Servers = Pick<Spec['kv'], 'store' | 'redis' | 'nats'>;

/** Of a deployment, or of a KVTier. */
export function kvServers(given: Servers): Pick<ServingDeployment['spec']['kv'], 'store' | 'redis' | 'nats'> {
  return {
    store: given.store ? store(given.store) : null,
    redis: given.redis ? redis(given.redis) : null,
    nats: given.nats ? nats(given.nats) : null,
  };
}

function store({ directory, redis, capacity, bandwidth, tenantShare }: NonNullable<Spec['kv']['store']>): StoreSettings {
  return {
    folder: directory ?? null,
    redis: redis ? { url: redis.url, passwordSecret: redis.passwordSecret ?? null, ttlMs: ms(redis.ttl) } : null,
    capacityBytes: bytes(capacity),
    bytesPerSecond: bandwidth === undefined ? null : bytes(bandwidth),
    tenantShare,
  };
}

function redis({ budget, ...given }: NonNullable<Spec['kv']['redis']>): RedisSpec {
  return { ...given, budgetMs: ms(budget) };
}

function nats({ maxBytes, maxAge, ...given }: NonNullable<Spec['kv']['nats']>): NatsSpec {
  return { ...given, maxBytes: bytes(maxBytes), maxAgeMs: ms(maxAge) };
}

function engine({
  type,
  image,
  imagePullPolicy,
  dtype,
  transferBackend,
  args,
  env,
  contextTokens,
  maxSequences,
}: Spec['engine']): EngineSpec {
  return {
    type,
    image: image ?? null,
    imagePullPolicy: imagePullPolicy ?? null,
    dtype: type === 'vllm' || type === 'sglang' ? (dtype ?? 'auto') : null,
    transferBackend: type === 'sglang' ? (transferBackend ?? 'mooncake') : null,
    args,
    env,
    contextTokens,
    maxSequences,
  };
}

/** vLLM's kernels for the CPU want multiples of 32. */
function defaultBlockTokens({ engine: { type }, decode }: Spec): number {
  return type === 'vllm' && decode.accelerator === undefined ? 32 : 16;
}

function role(pool: Spec['decode'], shared: Costs | undefined): RoleSpec {
  const { replicas, accelerator, parallelism, resources, sim } = pool;
  return {
    replicas,
    accelerator: accelerator ?? null,
    parallelism: { tensor: parallelism?.tensor ?? 1 },
    resources,
    costs: shared || sim ? { ...FREE_COSTS, ...given(shared), ...given(sim?.costs) } : null,
    podOverrides: podOverrides(pool.podOverrides ?? {}),
  };
}

function podOverrides(given: NonNullable<Spec['decode']['podOverrides']>): PodOverrides {
  return {
    labels: given.labels ?? {},
    annotations: given.annotations ?? {},
    nodeSelector: given.nodeSelector ?? {},
    tolerations: given.tolerations ?? [],
    priorityClassName: given.priorityClassName ?? null,
    serviceAccountName: given.serviceAccountName ?? null,
    imagePullSecrets: (given.imagePullSecrets ?? []).map(({ name }) => name),
  };
}

function given(costs: Costs | undefined): Partial<SimulatedCosts> {
  return Object.fromEntries(Object.entries(costs ?? {}).filter(([, value]) => value !== undefined));
}

function serviceLevel({ ttft, tpot, attainment }: NonNullable<Spec['slo']>): ServiceLevel {
  return { ttftMs: percentiles(ttft ?? {}), tpotMs: percentiles(tpot ?? {}), attainment };
}

function percentiles({ p50, p95, p99 }: Targets): Percentiles {
  const target = (text: string | undefined) => (text === undefined ? null : ms(text));
  return { p50: target(p50), p95: target(p95), p99: target(p99) };
}

function router(given: Spec['router']): RouterSettings {
  const { host, port, replicas, service, limits, deadlines, models, saltHeader, tracing } = given;
  return {
    host,
    port,
    replicas,
    service,
    limits: {
      inFlight: limits.inFlight,
      queue: limits.queue,
      queueTimeoutMs: ms(limits.queueTimeout),
      bodyBytes: bytes(limits.bodyBytes),
    },
    deadlines: {
      prefillMs: ms(deadlines.prefill),
      pullMs: ms(deadlines.pull),
      firstTokenMs: ms(deadlines.firstToken),
      idleMs: ms(deadlines.idle),
      totalMs: ms(deadlines.total),
    },
    models: models ?? [],
    saltHeader: saltHeader?.toLowerCase() ?? null,
    ...(tracing ? { tracing } : {}),
  };
}

function ms(text: string): number {
  return durationMs(text) ?? Number.NaN;
}

function bytes(value: string | number): number {
  return quantityBytes(String(value)) ?? Number.NaN;
}
