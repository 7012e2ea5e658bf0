/** The command lines of our processes. Pure. */
import type { InstanceSpec, RouterSpec } from './port.ts';

/** Where a process listens; port 0 = any free one. */
export interface Listening {
  readonly host: string;
  readonly port: number;
}

/** @param model what the engine is given for the weights */
export function engineArguments(name: string, { host, port }: Listening, spec: InstanceSpec, model: string): string[] {
  const flags: Record<string, string | number> = {
    type: spec.engine,
    role: spec.role,
    instance: name,
    'model-name': spec.modelName,
    host,
    port,
    context: spec.contextTokens,
    sequences: spec.maxSequences,
    'block-tokens': spec.blockTokens,
    'hbm-bytes': spec.hbmBytes,
    'host-bytes': spec.hostBytes,
    'lease-ms': spec.leaseMs,
  };
  const weights = spec.engine === 'sim' ? [] : ['--model', model];
  const costs = spec.costs === null ? [] : ['--costs', spec.costs];
  const store = spec.store === undefined ? [] : ['--store', spec.store];
  const kv = spec.kv === undefined ? [] : ['--kv', spec.kv.settings];
  if (spec.engine === 'vllm' || spec.engine === 'sglang') return ['engine', ...words(flags), ...weights, ...kv, ...foreignWords(spec)];
  // What is left to wait for when the router has let an instance go is leases; arguments of the user's own win.
  const drain = spec.args.some((argument) => argument.startsWith('--drain-ms')) ? [] : ['--drain-ms', String(spec.leaseMs)];
  return ['engine', ...words(flags), ...weights, ...costs, ...store, ...kv, ...drain, ...spec.args];
}

/** The user's arguments are those of another program. */
function foreignWords({ dtype, accelerator, tensorParallel, transferBackend, modelRevision, leaseMs, args }: InstanceSpec): string[] {
  const flags = {
    revision: modelRevision,
    'drain-ms': leaseMs,
    ...(dtype === null ? {} : { dtype }),
    ...(accelerator === null ? {} : { accelerator }),
    ...(tensorParallel === null ? {} : { 'tensor-parallel': tensorParallel }),
    ...(transferBackend === undefined ? {} : { 'transfer-backend': transferBackend }),
  };
  return [...words(flags), ...args.map((argument) => `--engine-arg=${argument}`)];
}

function words(flags: Readonly<Record<string, string | number>>): string[] {
  return Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, String(value)]);
}

export interface RouterListening extends Listening {
  readonly adminHost: string;
  readonly adminPort: number;
}

export function routerArguments(spec: RouterSpec, { host, port, adminHost, adminPort }: RouterListening): string[] {
  const flags: Record<string, string | number> = {
    host,
    port,
    'admin-host': adminHost,
    'admin-port': adminPort,
    model: spec.modelName,
    'grace-ms': spec.graceMs,
    config: spec.config,
    ...(spec.kv === undefined ? {} : { kv: spec.kv.settings }),
  };
  return ['router', ...words(flags)];
}

/** Numeric libraries must not start threads of their own: two compute threads on two cores are slower than one. */
export const ONE_THREAD: Readonly<Record<string, string>> = {
  OMP_NUM_THREADS: '1',
  OPENBLAS_NUM_THREADS: '1',
  MKL_NUM_THREADS: '1',
  GGML_N_THREADS: '1',
};
