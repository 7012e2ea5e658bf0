/**
 * Arguments and variables of the engine process that follow from other fields, or that would part an instance from its peers and its
 * router; a second value would contradict them. Pure.
 */
import type { CheckedSpec, Finding } from './finding.ts';

/** Why it is refused; null = it follows from other fields. */
type Refused = Readonly<Record<string, string | null>>;

/** Flags of `sluice engine`. */
const OURS: Refused = refusedWith(null, [
  'drain-ms',
  'type',
  'role',
  'instance',
  'model-name',
  'model',
  'host',
  'port',
  'context',
  'sequences',
  'block-tokens',
  'hbm-bytes',
  'host-bytes',
  'lease-ms',
  'costs',
]);

const EVENTS = 'without which the router does not know what is in the KV cache';
const TOKENS = 'since the router makes the same tokens from the files of the model';
const ONE_PROCESS = 'since one instance has one engine that takes requests';
const REACHED = 'since the router would not reach it';

/** Flags of `vllm serve`. */
const VLLM: Refused = {
  ...refusedWith(null, [
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
    'kv-transfer-config',
    'kv-events-config',
    'prefix-caching-hash-algo',
  ]),
  ...refusedWith(EVENTS, ['no-enable-prefix-caching', 'disable-log-stats', 'no-enable-prompt-tokens-details']),
  ...refusedWith(TOKENS, [
    'tokenizer',
    'tokenizer-revision',
    'tokenizer-mode',
    'skip-tokenizer-init',
    'tokens-only',
    'chat-template',
    'default-chat-template-kwargs',
  ]),
  ...refusedWith(ONE_PROCESS, [
    'data-parallel-size',
    'pipeline-parallel-size',
    'decode-context-parallel-size',
    'prefill-context-parallel-size',
    'api-server-count',
    'headless',
    'nnodes',
  ]),
  ...refusedWith(REACHED, ['uds', 'root-path', 'api-key', 'ssl-keyfile', 'ssl-certfile', 'ssl-ca-certs']),
  'kv-cache-dtype': 'since engine.dtype is also that of the KV',
  config: 'since a file could set what is refused here: write its lines as arguments',
};

/** The short forms that vLLM has of them. */
const VLLM_SHORT: Readonly<Record<string, string>> = {
  tp: 'tensor-parallel-size',
  pp: 'pipeline-parallel-size',
  dp: 'data-parallel-size',
  dcp: 'decode-context-parallel-size',
  pcp: 'prefill-context-parallel-size',
  asc: 'api-server-count',
  n: 'nnodes',
};

const VLLM_VARIABLES: Refused = {
  ...refusedWith(null, [
    'PYTHONHASHSEED',
    'VLLM_NIXL_SIDE_CHANNEL_HOST',
    'VLLM_NIXL_SIDE_CHANNEL_PORT',
    'VLLM_CPU_KVCACHE_SPACE',
    'VLLM_API_KEY',
  ]),
  VLLM_KV_CACHE_LAYOUT: 'since instances hand KV over in one layout',
  VLLM_KV_EVENTS_USE_INT_BLOCK_HASHES: EVENTS,
  VLLM_SERVER_DEV_MODE: 'since it lets any client stop the engine',
};

export function ownArguments(engine: Pick<CheckedSpec['engine'], 'type' | 'args' | 'env'>): Finding[] {
  const { refused, flagOf } = engine.type === 'vllm' ? { refused: VLLM, flagOf: vllmFlag } : { refused: OURS, flagOf: ourFlag };
  const args = engine.args.flatMap((text, index) => {
    const flag = flagOf(text);
    const written = text.split('=', 1)[0] ?? text;
    return flag !== null && Object.hasOwn(refused, flag)
      ? [{ path: ['engine', 'args', index], expected: refusal(`no ${written}`, refused[flag] ?? null) }]
      : [];
  });
  return [...args, ...(engine.type === 'vllm' ? variables(engine.env) : [])];
}

function variables(env: Readonly<Record<string, string>>): Finding[] {
  return Object.keys(env).flatMap((name) =>
    Object.hasOwn(VLLM_VARIABLES, name)
      ? [{ path: ['engine', 'env', name], expected: refusal(`no ${name}`, VLLM_VARIABLES[name] ?? null) }]
      : [],
  );
}

function refusal(what: string, why: string | null): string {
  return `${what}, ${why ?? 'which Sluice sets from the other fields'}: remove it`;
}

function ourFlag(text: string): string | null {
  return /^--([a-z-]+)(?:=|$)/.exec(text)?.[1] ?? null;
}

/** The refused flag that vLLM would read: it takes `_` for `-`, unique beginnings of names, and `--name.field` for fields of JSON. */
function vllmFlag(text: string): string | null {
  const short = /^-([a-z]{1,3})(?:=|$|\d)/.exec(text)?.[1];
  if (short !== undefined) return VLLM_SHORT[short] ?? null;
  const name = /^--([A-Za-z][-\w]*)/.exec(text)?.[1]?.replaceAll('_', '-');
  if (name === undefined) return null;
  return Object.keys(VLLM).find((flag) => flag === name) ?? Object.keys(VLLM).find((flag) => flag.startsWith(name)) ?? null;
}

function refusedWith(why: string | null, names: readonly string[]): Refused {
  return Object.fromEntries(names.map((name) => [name, why]));
}
