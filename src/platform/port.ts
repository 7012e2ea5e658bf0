/**
 * The platform port: where instances and routers run. The controller observes through it, decides, and has steps done by it.
 *
 * Invariants
 * - `observe` reports what is, never what should be; it ends within a bounded time even when a process does not answer.
 * - `apply` starts a change and returns; whether the change came about is seen by the next `observe`.
 * - A start makes a new incarnation. `draining` is a mark that stays with an instance until it is gone.
 */

import type { PodOverrides } from '../api/index.ts';

export type Role = 'prefill' | 'decode' | 'mixed';

/** What only a pod has: all that makes it another one than its process alone would be. */
export interface PodSettings {
  readonly image: string;
  /** Null = as Kubernetes decides by the image's tag. */
  readonly imagePullPolicy: 'Always' | 'IfNotPresent' | 'Never' | null;
  /** Kubernetes quantities by the name of the resource. */
  readonly requests: Readonly<Record<string, string>>;
  readonly limits: Readonly<Record<string, string>>;
  readonly overrides: PodOverrides;
}

/** Servers that instances and routers of a deployment share. */
export interface KvServers {
  /** As `--kv` takes it: JSON, without what is hidden. */
  readonly settings: string;
  /** What pods find in folders. */
  readonly secrets: readonly MountedSecret[];
}

export interface MountedSecret {
  readonly volume: string;
  /** Name of the Secret. */
  readonly secret: string;
  readonly folder: string;
}

/** All that one instance is started with. Equal specs give interchangeable instances. */
export interface InstanceSpec {
  readonly role: Role;
  readonly engine: 'llamacpp' | 'sim' | 'vllm' | 'sglang';
  readonly modelName: string;
  /** `builtin:tiny`, the path of a GGUF, or with vllm and sglang a folder (it starts with `/`, `./` or `../`) or a name of the Hugging Face hub. */
  readonly modelSource: string;
  readonly modelRevision: string;
  /** Number format of weights and KV; null = the engine has no choice. */
  readonly dtype: 'auto' | 'bfloat16' | 'float16' | 'float32' | null;
  /** What it runs on, such as `nvidia-h100`; null = the CPU. */
  readonly accelerator: string | null;
  /** Accelerators that share every layer of the model; null = the engine has no choice. */
  readonly tensorParallel: number | null;
  /** What carries KV between SGLang's instances; absent: another engine. */
  readonly transferBackend?: 'mooncake' | 'nixl';
  readonly contextTokens: number;
  readonly maxSequences: number;
  readonly blockTokens: number;
  readonly hbmBytes: number;
  readonly hostBytes: number;
  readonly leaseMs: number;
  /** The store as JSON, as `sluice engine --store` takes it; absent: none. */
  readonly store?: string;
  /** Folder of the store on the instance's disk; absent: it is elsewhere, or there is none. */
  readonly storePath?: string;
  /** Where the store's password is; absent: it has none, or the environment has it. */
  readonly storeSecret?: { readonly name: string; readonly key: string };
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Declared costs of a simulated engine as JSON; null = the engine's own. */
  readonly costs: string | null;
  /** Absent = none. */
  readonly kv?: KvServers;
  /** Null where instances are processes. */
  readonly pod: PodSettings | null;
}

/** All that a router is started with. */
export interface RouterSpec {
  /** Where it listens as a process; pods listen on ports that are always the same. */
  readonly host: string;
  /** 0 = any free port, kept when the router is restarted. */
  readonly port: number;
  /** Container image; null where routers are processes. */
  readonly image: string | null;
  readonly modelName: string;
  /** Limits and deadlines as JSON, as `sluice router --config` takes them. */
  readonly config: string;
  /** Absent = none. */
  readonly kv?: KvServers;
  /** Milliseconds that a router which is asked to end gives to requests under way. */
  readonly graceMs: number;
}

export interface Address {
  readonly url: string;
  readonly transfer: { readonly host: string; readonly port: number };
}

/** `failed`: not running, and nobody asked it to end. `stopping`: asked to end, still running. */
export type Phase = 'starting' | 'ready' | 'failed' | 'stopping';

interface ObservedProcess {
  /** Hash of the spec that it was started with. */
  readonly revision: string;
  readonly phase: Phase;
  /** Monotonic milliseconds. */
  readonly startedMs: number;
  readonly failedMs: number | null;
  /** Failures in a row without a stable while between them. */
  readonly failures: number;
  /** Why it last failed, or why it cannot start, with what to do about it. */
  readonly lastError: string | null;
  /** When it failed, the platform starts it again by itself: no step is needed. */
  readonly heals: boolean;
}

export interface ObservedInstance extends ObservedProcess {
  /** Unique within the deployment, for example `decode-1`. */
  readonly name: string;
  readonly role: Role;
  /** Name of the model as clients write it. */
  readonly modelName: string;
  /** Hash of what must be equal for KV to be exchanged. */
  readonly family: string;
  /** Null until the instance has told it. */
  readonly incarnation: string | null;
  readonly address: Address | null;
  /** When it was asked to take no new requests; null = it may take them. */
  readonly drainingSinceMs: number | null;
}

/** What a router says of one instance that it was told about. */
export interface RoutedInstance {
  readonly name: string;
  readonly incarnation: string;
  readonly draining: boolean;
  /** The router has a live feed from it, may place requests on it, and one went well (unless it drains, or is to be emptied). */
  readonly connected: boolean;
  readonly inFlight: number;
}

/** How a router gets on with a server that it shares with others: null = well, else why it does without. */
export interface RoutedKv {
  readonly redis?: string | null;
  readonly nats?: string | null;
}

export interface ObservedRouter extends ObservedProcess {
  readonly name: string;
  /** True while it takes new connections. */
  readonly accepting: boolean;
  readonly url: string | null;
  readonly adminUrl: string | null;
  /** A synthetic request went through the pools. */
  readonly serving: boolean;
  /** Null when the router did not say (not up yet, or hung). */
  readonly instances: readonly RoutedInstance[] | null;
  /** Of the servers that it was told of; absent when it did not say. */
  readonly kv?: RoutedKv;
}

export interface Observed {
  readonly instances: readonly ObservedInstance[];
  readonly routers: readonly ObservedRouter[];
  /** Names that something of others holds: nothing can be started under them. */
  readonly takenNames: readonly string[];
}

/** One line of the list that a router gets. */
export interface PublishedInstance {
  readonly id: string;
  readonly incarnation: string;
  readonly role: Role;
  readonly url: string;
  readonly transfer: { readonly host: string; readonly port: number };
  readonly draining: boolean;
}

/** One unit of change, with its reason. */
export type Step =
  | {
      readonly type: 'startInstance';
      readonly name: string;
      readonly spec: InstanceSpec;
      readonly revision: string;
      readonly family: string;
      readonly reason: string;
    }
  | { readonly type: 'restartInstance'; readonly name: string; readonly reason: string }
  | { readonly type: 'drainInstance'; readonly name: string; readonly reason: string }
  | { readonly type: 'stopInstance'; readonly name: string; readonly reason: string }
  | { readonly type: 'startRouter'; readonly name: string; readonly spec: RouterSpec; readonly revision: string; readonly reason: string }
  | { readonly type: 'restartRouter'; readonly name: string; readonly reason: string }
  | { readonly type: 'stopRouter'; readonly name: string; readonly reason: string }
  | {
      readonly type: 'publishInstances';
      readonly router: string;
      readonly model: string;
      readonly instances: readonly PublishedInstance[];
      readonly reason: string;
    };

/** `field` names the field of the resource that makes the step impossible, when it is one. */
export type Outcome = { readonly ok: true } | { readonly ok: false; readonly field: string | null; readonly message: string };

export interface Platform {
  observe(): Promise<Observed>;
  apply(step: Step): Promise<Outcome>;
}
