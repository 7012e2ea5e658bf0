/**
 * Arguments and variables of the user's that would part an instance from its peers, its router or its agent. Everything else is
 * vLLM's to judge. Pure.
 */
import { HASH_ALGORITHM, HASH_SEED } from './command.ts';

export interface Override {
  /** `--name` or the name of a variable. */
  readonly name: string;
  readonly value: string;
  /** What was expected and what to do. */
  readonly expected: string;
}

const BY_FIELD = 'follows from the other fields of the instance: remove it and set the field';
const OURS = 'is set by Sluice for each instance: remove it';
const EVENTS = 'the router needs it to know what is in the KV cache: remove it';
const TOKENS = "the router makes the same tokens from the model's own files: remove it";
const ONE_ENGINE = 'one instance has one engine that takes requests: remove it and raise the number of replicas';
const REACHED = 'router and agent would not reach it: remove it';

/** By the longest name that vLLM knows. */
const ARGUMENTS: Readonly<Record<string, string>> = {
  ...all(BY_FIELD, [
    'model',
    'revision',
    'served-model-name',
    'host',
    'port',
    'dtype',
    'max-model-len',
    'max-num-seqs',
    'block-size',
    'tensor-parallel-size',
    'kv-cache-memory-bytes',
  ]),
  ...all(OURS, ['kv-transfer-config', 'kv-events-config']),
  'prefix-caching-hash-algo': `must be ${HASH_ALGORITHM} in all instances: remove it`,
  'kv-cache-dtype': 'instances that hand KV over store it in the dtype of the instance: remove it',
  ...all(EVENTS, ['no-enable-prefix-caching', 'disable-log-stats', 'no-enable-prompt-tokens-details']),
  ...all(TOKENS, [
    'tokenizer',
    'tokenizer-revision',
    'tokenizer-mode',
    'skip-tokenizer-init',
    'chat-template',
    'default-chat-template-kwargs',
  ]),
  ...all(ONE_ENGINE, ['data-parallel-size', 'pipeline-parallel-size', 'api-server-count', 'headless', 'decode-context-parallel-size']),
  ...all(REACHED, ['uds', 'root-path', 'api-key', 'ssl-keyfile', 'ssl-certfile', 'ssl-ca-certs']),
  config: 'a file could set what is refused here: write its lines as arguments',
};

const SHORT: Readonly<Record<string, string>> = {
  tp: 'tensor-parallel-size',
  pp: 'pipeline-parallel-size',
  dp: 'data-parallel-size',
  dcp: 'decode-context-parallel-size',
};

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
  const words = args.flatMap((word, at) => {
    const name = refusedName(word);
    if (name === null) return [];
    return [{ name: word.split('=', 1)[0] ?? word, value: valueAt(args, at), expected: ARGUMENTS[name] ?? '' }];
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

/** vLLM reads `_` as `-`, a unique beginning as the name, and `--name.field` as a field of JSON. */
function refusedName(word: string): string | null {
  const short = /^-([a-z]{2,3})(?:=|$|\d)/.exec(word)?.[1];
  if (short !== undefined) return SHORT[short] ?? null;
  const name = /^--([A-Za-z][-\w]*)/.exec(word)?.[1]?.replaceAll('_', '-');
  if (name === undefined) return null;
  if (Object.hasOwn(ARGUMENTS, name)) return name;
  return Object.keys(ARGUMENTS).find((refused) => refused.startsWith(name)) ?? null;
}

function valueAt(args: readonly string[], at: number): string {
  const word = args[at] ?? '';
  const equals = word.indexOf('=');
  if (equals >= 0) return word.slice(equals + 1);
  const next = args[at + 1];
  return next === undefined || next.startsWith('-') ? '' : next;
}

function all(expected: string, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, expected]));
}
