/** What an agent has to know of the kind of engine that it stands beside. */
import type { Dialect, EngineType, Role } from '../port.ts';

/** What instances of one pool have in common. */
export interface EngineSpec {
  readonly role: Role;
  /** Folder with the model, or its name on the hub. */
  readonly model: string;
  /** Of a model of the hub; null = its default. */
  readonly revision: string | null;
  readonly modelName: string;
  /** `auto`, `bfloat16`, `float16` or `float32`. */
  readonly dtype: string;
  readonly contextTokens: number;
  readonly maxSequences: number;
  readonly blockTokens: number;
}

/** Ports of one engine, all chosen before it starts. */
export interface EnginePorts {
  readonly http: number;
  /** Where instances meet to hand KV over. */
  readonly sideChannel: number;
  readonly events: number;
  readonly replay: number;
}

/** What an engine runs on. */
export type EngineDevice =
  /**
   * `cores`: the logical processors that its compute threads are bound to, one or more; null = as the environment has it. Unbound
   * threads of two instances make each other 20 times slower.
   */
  | { readonly kind: 'cpu'; readonly cores: readonly number[] | null }
  /** `visible`: indices of its accelerators; null = as the environment has it. */
  | { readonly kind: 'cuda'; readonly visible: readonly number[] | null };

export interface EngineCommand {
  readonly args: readonly string[];
  /** Null removes a variable. */
  readonly env: Readonly<Record<string, string | null>>;
}

export interface EngineKind {
  /** In sentences: `vLLM`. */
  readonly title: string;
  readonly engine: EngineType;
  readonly dialect: Dialect;
  /** Where it tells its version, and how. */
  readonly version: { readonly path: string; readonly pattern: RegExp };
  /** 503 of `/health` says that it will never serve again; else that it does not serve now. */
  readonly deadAt503: boolean;
  /** How long finished blocks wait for a peer, milliseconds; null = nobody fetches them. */
  readonly leaseMs: number | null;
  /** Says in its output that a thread could not start, without which it waits for ever; null = it has no such threads. */
  readonly brokenThread: RegExp | null;
  /** @param incarnation of this life of it */
  command(incarnation: string): EngineCommand;
  /** Its metrics page as the agent shows it. */
  page(text: string): string;
  /** Fields with which it takes a request that belongs to no pair. */
  alone(): object;
  /** Processor time, in milliseconds, that what computes in this group of processes has had so far; null = not known, or it computes elsewhere. */
  busyMs(group: number): number | null;
  /** Loads what is wanted once it serves, while it loads its model. @returns puts its threads where they belong; what went wrong, or null */
  prepare(): Promise<(group: number) => string | null>;
}

export const EVENT_TOPIC = 'kv';

/** A folder, as opposed to a name on the hub. */
export function isLocal(model: string): boolean {
  return /^\.{0,2}\//.test(model);
}
