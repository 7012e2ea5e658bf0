/**
 * `kv_transfer_params` as vLLM 0.32.0's NixlConnector reads and gives them. It checks little: what is missing or does not fit ends the
 * engine, or leaves the request waiting for ever. Pure.
 */
import type { EngineInfo, HandOffTicket } from '../../port.ts';

export type Transfer =
  | { readonly kind: 'none' }
  /** Keep the prompt's blocks for a peer and say where they are. */
  | { readonly kind: 'keep' }
  /** Take the prompt's blocks from there. */
  | { readonly kind: 'take'; readonly ticket: HandOffTicket; readonly cachedTokens: number | null }
  /** Block ids that the peer can not have. */
  | { readonly kind: 'unreadable' }
  /** The scheduler waits for blocks that nobody fetches; that it is given up then is what ends the core. */
  | { readonly kind: 'stuck' }
  /** The engine's core fails of it. */
  | { readonly kind: 'deadly' };

type Params = Readonly<Record<string, unknown>>;

const WHERE = ['remote_engine_id', 'remote_request_id', 'remote_host', 'remote_port'];

/** More blocks no engine has. */
const MOST_BLOCKS = 2 ** 22;

/** @param params an object, or null when the body has none */
export function readTransfer(params: Params | null, info: EngineInfo): Transfer {
  if (params === null) return { kind: 'none' };
  if (params['do_remote_decode']) return { kind: 'keep' };
  if (!params['do_remote_prefill']) return { kind: 'none' };
  const groups: unknown = params['remote_block_ids'];
  if (!Array.isArray(groups) || groups.length === 0) return { kind: 'deadly' };
  if (WHERE.some((name) => !(name in params))) return { kind: 'stuck' };
  return take(params, groups, info);
}

function take(params: Params, groups: readonly unknown[], info: EngineInfo): Transfer {
  const { remote_engine_id: engine, remote_request_id: lease, remote_host: host, remote_port: port, tp_size: ranks } = params;
  const ids = groups[0];
  const fits =
    groups.length === 1 &&
    Array.isArray(ids) &&
    typeof engine === 'string' &&
    typeof lease === 'string' &&
    typeof host === 'string' &&
    typeof port === 'number' &&
    typeof ranks === 'number';
  if (!fits) return { kind: 'deadly' };
  if (!ids.every((id: unknown) => typeof id === 'number' && id >= 0 && id < MOST_BLOCKS)) return { kind: 'unreadable' };
  const cached: unknown = params['remote_prefill_cached_tokens'];
  const ticket = { instance: engine, incarnation: engine, host, port, lease, blocks: ids.length, bytes: ids.length * info.bytesPerBlock };
  return { kind: 'take', ticket: { ...ticket, leaseMs: 0 }, cachedTokens: typeof cached === 'number' ? cached : null };
}

export interface Kept {
  readonly requestId: string;
  /** Tokens whose KV is kept: the prompt, and all generated ones but the last. */
  readonly tokens: number;
  /** Prompt tokens that were here already; null = it took more than one token to end, then vLLM does not say. */
  readonly cachedTokens: number | null;
}

/** What a `keep` is answered with; to be handed on as it is. */
export function transferAnswer(info: EngineInfo, { requestId, tokens, cachedTokens }: Kept): object {
  return {
    do_remote_prefill: true,
    do_remote_decode: false,
    remote_block_ids: [Array.from({ length: Math.ceil(tokens / info.identity.blockTokens) }, (_, index) => index + 1)],
    remote_engine_id: info.incarnation,
    remote_request_id: requestId,
    remote_host: info.transfer.host,
    remote_port: info.transfer.port,
    tp_size: 1,
    dcp_size: 1,
    pp_size: 1,
    remote_num_tokens: tokens,
    remote_blocks_expiry_time: null,
    transfer_mode: 'pull',
    ...(cachedTokens === null ? {} : { remote_prefill_cached_tokens: cachedTokens }),
  };
}
