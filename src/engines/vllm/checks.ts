/** What would part a vLLM from its peers, its router or its agent. Pure. */
import { type Override, overridesOf, type Variable } from '../agent/overrides.ts';
import { HASH_SEED } from './command.ts';

const VARIABLES: Readonly<Record<string, Variable>> = {
  PYTHONHASHSEED: { only: HASH_SEED, expected: `must be ${HASH_SEED} in all instances: unset it` },
  VLLM_KV_CACHE_LAYOUT: { only: null, expected: 'instances hand KV over in one layout, which vLLM chooses: unset it' },
  VLLM_KV_EVENTS_USE_INT_BLOCK_HASHES: { only: '1', expected: 'the router needs block names of one form: unset it' },
  VLLM_SERVER_DEV_MODE: { only: '0', expected: 'its routes let any client stop the engine: unset it' },
  VLLM_CPU_KVCACHE_SPACE: { only: null, expected: 'the bytes for KV follow from the fields of the instance: unset it and set the field' },
  VLLM_NIXL_SIDE_CHANNEL_HOST: { only: null, expected: 'Sluice sets it for each instance: unset it' },
  VLLM_NIXL_SIDE_CHANNEL_PORT: { only: null, expected: 'Sluice sets it for each instance: unset it' },
  VLLM_API_KEY: { only: null, expected: 'router and agent have no key for it: unset it' },
};

/** @param env of the process, the user's own variables included. Empty = nothing is wrong. */
export function findOverrides(args: readonly string[], env: Readonly<Record<string, string | undefined>>): Override[] {
  return overridesOf('vllm', { args, env }, VARIABLES);
}
