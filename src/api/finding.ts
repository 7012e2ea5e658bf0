/** What the checks read and what they find. */
interface CheckedEngine {
  readonly type: 'llamacpp' | 'sim' | 'vllm' | 'sglang';
  readonly dtype?: string | undefined;
  readonly transferBackend?: string | undefined;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly contextTokens: number;
  readonly sim?: object | undefined;
}

export interface CheckedRole {
  readonly accelerator?: string | undefined;
  readonly parallelism?: { readonly tensor: number } | undefined;
  readonly sim?: object | undefined;
}

export type CheckedTargets = { readonly [name in 'p50' | 'p95' | 'p99']?: string | undefined };

/** The part of a parsed spec that the checks read. */
export interface CheckedSpec {
  readonly model: { readonly name: string; readonly source: string };
  readonly engine: CheckedEngine;
  readonly slo?: { readonly ttft?: CheckedTargets | undefined; readonly tpot?: CheckedTargets | undefined } | undefined;
  readonly prefill?: CheckedRole | undefined;
  readonly decode: CheckedRole;
  readonly kv: { readonly blockTokens?: number | undefined; readonly lease: string; readonly store?: object | undefined };
  readonly router: {
    readonly limits: { readonly queueTimeout: string };
    readonly models?: readonly { readonly name: string }[] | undefined;
    readonly deadlines: Readonly<Record<'prefill' | 'pull' | 'firstToken' | 'idle' | 'total', string>>;
  };
}

export interface Finding {
  /** From `spec` on. */
  readonly path: readonly (string | number)[];
  readonly expected: string;
}
