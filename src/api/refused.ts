/**
 * What `engine.args` and `engine.env` may not hold, by engine: what follows from other fields, or would part an instance from its peers and
 * its router. Pure.
 */

/** Why it is refused; null = it follows from other fields. */
export type Refused = Readonly<Record<string, string | null>>;

export const FOLLOWS = 'which Sluice sets from the other fields';

/** Flags of `sluice engine`. */
export const OURS: Refused = refusedWith(null, [
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
  'store',
  'lease-ms',
  'costs',
  'kv',
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

/** Flags of SGLang's server. */
const SGLANG: Refused = {
  ...refusedWith(null, [
    'model-path',
    'model',
    'revision',
    'served-model-name',
    'host',
    'port',
    'dtype',
    'context-length',
    'max-running-requests',
    'page-size',
    'tensor-parallel-size',
    'tp-size',
    'disaggregation-mode',
    'disaggregation-transfer-backend',
    'disaggregation-bootstrap-port',
    'kv-events-config',
  ]),
  ...refusedWith(EVENTS, ['disable-radix-cache']),
  ...refusedWith(TOKENS, ['tokenizer-path', 'tokenizer-mode', 'skip-tokenizer-init', 'chat-template', 'completion-template']),
  ...refusedWith(ONE_PROCESS, [
    'data-parallel-size',
    'dp-size',
    'enable-dp-attention',
    'pipeline-parallel-size',
    'pp-size',
    'attn-cp-size',
    'nnodes',
    'node-rank',
    'dist-init-addr',
  ]),
  ...refusedWith(REACHED, ['api-key', 'admin-api-key', 'ssl-keyfile', 'ssl-certfile', 'ssl-ca-certs', 'fastapi-root-path', 'grpc-mode']),
  'kv-cache-dtype': 'since engine.dtype is also that of the KV',
  config: 'since a file could set what is refused here: write its lines as arguments',
};

const SGLANG_VARIABLES: Refused = refusedWith(null, ['SGLANG_HOST_IP', 'SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION']);

export interface Foreign {
  readonly flags: Refused;
  /** The short forms that it has of them. */
  readonly short: Readonly<Record<string, string>>;
  readonly variables: Refused;
}

/** Engines that are programs of others: `engine.args` are theirs. */
export const FOREIGN: Readonly<Record<'vllm' | 'sglang', Foreign>> = {
  vllm: { flags: VLLM, short: VLLM_SHORT, variables: VLLM_VARIABLES },
  sglang: { flags: SGLANG, short: {}, variables: SGLANG_VARIABLES },
};

function refusedWith(why: string | null, names: readonly string[]): Refused {
  return Object.fromEntries(names.map((name) => [name, why]));
}
