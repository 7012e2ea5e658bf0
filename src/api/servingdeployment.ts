/**
 * A ServingDeployment as the rest of Sluice sees it: defaults filled in, durations in milliseconds (`…Ms`), quantities in bytes
 * (`…Bytes`), absent parts null. It keeps the layout of the resource, so that a path in an error is found here too.
 */
export interface ServingDeployment {
  readonly apiVersion: 'serving.sluice.dev/v1alpha1';
  readonly kind: 'ServingDeployment';
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations: Readonly<Record<string, string>>;
  };
  readonly spec: ServingDeploymentSpec;
}

export interface ServingDeploymentSpec {
  readonly model: {
    /** What clients put into `model`. */
    readonly name: string;
    /** As written: `builtin:tiny`, the path of a GGUF file, or with vllm and sglang a folder or a name of the Hugging Face hub. */
    readonly source: string;
    readonly revision: string;
  };
  readonly engine: EngineSpec;
  readonly slo: ServiceLevel | null;
  /** Null = no prefill pool: the decode pool's instances are `mixed` and do both. */
  readonly prefill: RoleSpec | null;
  readonly decode: RoleSpec;
  readonly kv: {
    readonly blockTokens: number;
    readonly hbmBytes: number;
    readonly hostBytes: number;
    readonly leaseMs: number;
    /** Name of the KVTier that the next three come from; null = they are the deployment's own. */
    readonly tier: string | null;
    /** Null = what host memory gives up is forgotten. */
    readonly store: StoreSettings | null;
    /** Null = none. */
    readonly redis: RedisSpec | null;
    readonly nats: NatsSpec | null;
  };
  readonly router: RouterSettings;
  readonly rollout: {
    /** Nothing that serves is replaced, and changes other than those of sizes wait. */
    readonly paused: boolean;
  };
}

/** Environment variable of an instance with the password of a store in Redis: arguments are shown to everybody. */
export const STORE_PASSWORD = 'SLUICE_STORE_PASSWORD';

/** The tier below host memory: one of `folder` and `redis`. */
export interface StoreSettings {
  readonly folder: { readonly path: string } | null;
  readonly redis: {
    readonly url: string;
    /** Of a Secret; null = there is none, or it is in the environment. */
    readonly passwordSecret: { readonly name: string; readonly key: string } | null;
    readonly ttlMs: number;
  } | null;
  readonly capacityBytes: number;
  /** Of one instance, each way; null = no limit. */
  readonly bytesPerSecond: number | null;
  /** Of one tenant at most, more than 0 to 1. */
  readonly tenantShare: number;
  /** Absent = it is the deployment's own. */
  readonly tier?: StoreTier;
}

/** The KVTier that a store is of, and whose blocks lie together in one part of it. */
export interface StoreTier {
  readonly name: string;
  readonly scope: 'Deployment' | 'Model';
}

/** Where user, password and certificates are: exactly one is given. */
export interface Credentials {
  /** Name of a Secret; only where instances are pods. */
  readonly secret?: string | undefined;
  /** With a file for each. */
  readonly folder?: string | undefined;
  /** What names of environment variables begin with. */
  readonly env?: string | undefined;
}

export interface RedisSpec {
  readonly kind: 'single' | 'sentinel' | 'cluster';
  /** Without user and password. */
  readonly urls: readonly string[];
  readonly sentinelName?: string | undefined;
  readonly credentials?: Credentials | undefined;
  readonly servername?: string | undefined;
  readonly prefix: string;
  /** Longest that a request waits. */
  readonly budgetMs: number;
}

export interface NatsSpec {
  /** Without user and password. */
  readonly urls: readonly string[];
  readonly credentials?: Credentials | undefined;
  readonly prefix: string;
  readonly maxBytes: number;
  readonly maxAgeMs: number;
  readonly replicas: number;
}

/** Number format of weights and KV; `auto` = as the model says. */
export type Dtype = 'auto' | 'bfloat16' | 'float16' | 'float32';

export interface EngineSpec {
  readonly type: 'llamacpp' | 'sim' | 'vllm' | 'sglang';
  /** Container image of the instances; null = the operator's own. */
  readonly image: string | null;
  /** Null = as Kubernetes decides by the image's tag. */
  readonly imagePullPolicy: 'Always' | 'IfNotPresent' | 'Never' | null;
  /** Null = the engine has no choice. */
  readonly dtype: Dtype | null;
  /** What carries KV between SGLang's instances; null = another engine. */
  readonly transferBackend: 'mooncake' | 'nixl' | null;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly contextTokens: number;
  readonly maxSequences: number;
}

export interface RoleSpec {
  readonly replicas: number;
  /** Such as `nvidia-h100`; null = the CPU. */
  readonly accelerator: string | null;
  readonly parallelism: {
    /** Accelerators that share every layer of one instance. */
    readonly tensor: number;
  };
  readonly resources: {
    readonly requests: Readonly<Record<string, string>>;
    readonly limits: Readonly<Record<string, string>>;
  };
  /** Declared costs of a simulated engine: `engine.sim.costs` overlaid with the role's own, the rest 0. Null = the engine's defaults. */
  readonly costs: SimulatedCosts | null;
  readonly podOverrides: PodOverrides;
}

/** What the pods of a role have besides what Sluice gives them. */
export interface PodOverrides {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly nodeSelector: Readonly<Record<string, string>>;
  readonly tolerations: readonly Toleration[];
  readonly priorityClassName: string | null;
  readonly serviceAccountName: string | null;
  /** Names of Secrets. */
  readonly imagePullSecrets: readonly string[];
}

/** A taint that pods tolerate, as Kubernetes writes it; what is absent is not restricted. */
export interface Toleration {
  readonly key?: string | undefined;
  readonly operator: 'Equal' | 'Exists';
  readonly value?: string | undefined;
  readonly effect?: 'NoSchedule' | 'PreferNoSchedule' | 'NoExecute' | undefined;
  readonly tolerationSeconds?: number | undefined;
}

/** The constants of a simulated engine, in milliseconds; the same shape as `EngineCosts` of the engine port. */
export interface SimulatedCosts {
  readonly prefillFixed: number;
  readonly prefillPerToken: number;
  readonly prefillPerTokenContext: number;
  readonly stepFixed: number;
  readonly stepPerSequence: number;
  readonly stepPerContextToken: number;
  readonly pullFixed: number;
  readonly pullPerMiB: number;
}

/** An engine that answers at once. */
export const FREE_COSTS: SimulatedCosts = {
  prefillFixed: 0,
  prefillPerToken: 0,
  prefillPerTokenContext: 0,
  stepFixed: 0,
  stepPerSequence: 0,
  stepPerContextToken: 0,
  pullFixed: 0,
  pullPerMiB: 0,
};

export interface ServiceLevel {
  readonly ttftMs: Percentiles;
  readonly tpotMs: Percentiles;
  /** Share of requests, 0 to 1, that must meet all targets. */
  readonly attainment: number;
}

/** Milliseconds; null = no target. */
export interface Percentiles {
  readonly p50: number | null;
  readonly p95: number | null;
  readonly p99: number | null;
}

export interface RouterSettings {
  readonly host: string;
  /** 0 = any free port. */
  readonly port: number;
  /** Routers on Kubernetes. */
  readonly replicas: number;
  readonly service: { readonly type: 'ClusterIP' | 'NodePort' | 'LoadBalancer'; readonly port: number };
  readonly limits: {
    /** Requests being served at one time. */
    readonly inFlight: number;
    /** Requests waiting beyond those. */
    readonly queue: number;
    readonly queueTimeoutMs: number;
    readonly bodyBytes: number;
  };
  readonly deadlines: {
    readonly prefillMs: number;
    readonly pullMs: number;
    readonly firstTokenMs: number;
    readonly idleMs: number;
    readonly totalMs: number;
  };
  /** Served by other routers, whose requests are passed on. */
  readonly models: readonly { readonly name: string; readonly url: string }[];
  /** Request header whose value salts the KV key chain, lower case; null = all clients share KV. */
  readonly saltHeader: string | null;
  /** Absent = no traces: what routers are started with stays what it was without them. */
  readonly tracing?: {
    /** OTLP/HTTP: `http://host:port`. */
    readonly endpoint: string;
    /** 0 to 1. */
    readonly sampleRatio: number;
  };
}
