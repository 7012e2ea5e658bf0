/**
 * Arguments and variables that would part an instance from its peers, its router or its agent. A manifest was checked for them; here
 * they may also come from the environment of the machine, or from whoever started the agent by hand. Pure.
 */
import { ownArguments } from '../../api/facts/index.ts';
import { HASH_SEED } from './command.ts';

export interface Override {
  /** `--name` or the name of a variable. */
  readonly name: string;
  readonly value: string;
  /** What was expected and what to do. */
  readonly expected: string;
}

/** Null = must not be there at all; otherwise the one value that changes nothing. */
const VARIABLES: Readonly<Record<string, { readonly only: string | null; readonly expected: string }>> = {
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
  const words = ownArguments({ type: 'vllm', args, env: {} }).map(({ path, expected }) => {
    const at = Number(path.at(-1));
    return { name: args[at]?.split('=', 1)[0] ?? '', value: valueAt(args, at), expected };
  });
  const variables = Object.entries(VARIABLES).flatMap(([name, { only, expected }]) => {
    const value = env[name];
    return value === undefined || value === only ? [] : [{ name, value, expected }];
  });
  return [...words, ...variables];
}

/** One sentence for each. */
export function explainOverride({ name, value, expected }: Override): string {
  return `${name}${value === '' ? '' : ` (given: ${value.slice(0, 200)})`}: ${expected}`;
}

function valueAt(args: readonly string[], at: number): string {
  const word = args[at] ?? '';
  const equals = word.indexOf('=');
  if (equals >= 0) return word.slice(equals + 1);
  const next = args[at + 1];
  return next === undefined || next.startsWith('-') ? '' : next;
}
