import type { PodOverrides } from '../api/index.ts';
import type { InstanceSpec } from './port.ts';

export const NO_OVERRIDES: PodOverrides = {
  labels: {},
  annotations: {},
  nodeSelector: {},
  tolerations: [],
  priorityClassName: null,
  serviceAccountName: null,
  imagePullSecrets: [],
};

/** A small simulated decode instance, as a process, but for what `change` says. */
export function instanceSpec(change: Partial<InstanceSpec> = {}): InstanceSpec {
  return {
    role: 'decode',
    engine: 'sim',
    modelName: 'm',
    modelSource: 'builtin:tiny',
    modelRevision: 'main',
    dtype: null,
    accelerator: null,
    tensorParallel: null,
    contextTokens: 1024,
    maxSequences: 4,
    blockTokens: 16,
    hbmBytes: 2 ** 20,
    hostBytes: 2 ** 20,
    leaseMs: 1_000,
    args: [],
    env: {},
    costs: null,
    pod: null,
    ...change,
  };
}
