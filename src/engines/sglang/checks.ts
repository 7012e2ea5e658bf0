/** What would part an SGLang from its peers, its router or its agent. Pure. */
import { type Override, overridesOf, type Variable } from '../agent/overrides.ts';

const VARIABLES: Readonly<Record<string, Variable>> = {
  SGLANG_HOST_IP: { only: null, expected: 'Sluice sets it for each instance: unset it' },
  SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION: { only: 'false', expected: 'a health check that generates is slow under load: unset it' },
};

/** @param env of the process, the user's own variables included. Empty = nothing is wrong. */
export function findOverrides(args: readonly string[], env: Readonly<Record<string, string | undefined>>): Override[] {
  return overridesOf('sglang', { args, env }, VARIABLES);
}
