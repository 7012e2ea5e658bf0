/**
 * vLLM's `kv_transfer_params` as NixlConnector has them (0.32.0), on top of tickets: `remote_engine_id` is the incarnation,
 * `remote_request_id` the lease, host and port those of the transfer server. Block ids are only counted.
 *
 * Where vLLM's engine dies of parameters that do not fit the prompt, they are refused here.
 */

import { SluiceError } from '../../shared/index.ts';
import type { KvTransferDialect, TransferWish } from '../openai/index.ts';
import type { EngineInfo, HandOffTicket } from '../port.ts';

const PARAM = 'kv_transfer_params';
/** Stands for the lease of a prompt of which no block is kept, for example one shorter than a block. */
const NO_LEASE = 'none';

function malformed(field: string, expectation: string): SluiceError {
  return new SluiceError('invalid_request', `\`${PARAM}.${field}\` must be ${expectation}`, { param: `${PARAM}.${field}` });
}

function flag(params: object, field: string): boolean {
  const value: unknown = Reflect.get(params, field) ?? false;
  if (typeof value !== 'boolean') throw malformed(field, 'true or false');
  return value;
}

function text(params: object, field: string): string {
  const value: unknown = Reflect.get(params, field);
  if (typeof value !== 'string' || value.length === 0 || value.length > 256) throw malformed(field, 'a string of 1 to 256 characters');
  return value;
}

function port(params: object): number {
  const value: unknown = Reflect.get(params, 'remote_port');
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > 65_535) {
    throw malformed('remote_port', 'an integer from 1 to 65535');
  }
  return value;
}

/** Count of block ids; one list per cache group, and there is one group. */
function blockCount(params: object): number {
  const groups: unknown = Reflect.get(params, 'remote_block_ids');
  const expectation = 'an array with one array of block ids';
  if (!Array.isArray(groups) || groups.length !== 1) throw malformed('remote_block_ids', expectation);
  const ids: unknown = groups[0];
  const valid = Array.isArray(ids) && ids.every((id: unknown) => typeof id === 'number' && Number.isInteger(id) && id >= 0);
  if (!valid) throw malformed('remote_block_ids', expectation);
  return ids.length;
}

export function vllmDialect(info: EngineInfo): KvTransferDialect {
  const { blockTokens } = info.identity;

  function take(params: object, promptTokens: number): HandOffTicket {
    const lease = text(params, 'remote_request_id');
    const incarnation = text(params, 'remote_engine_id');
    const host = text(params, 'remote_host');
    const remotePort = port(params);
    const count = blockCount(params);
    const needed = Math.ceil(promptTokens / blockTokens);
    if (count !== needed) {
      throw malformed('remote_block_ids', `${needed} block ids long, since the prompt has ${promptTokens} tokens; it has ${count}`);
    }
    const blocks = Math.floor(promptTokens / blockTokens);
    return { instance: incarnation, incarnation, host, port: remotePort, lease, blocks, bytes: blocks * info.bytesPerBlock, leaseMs: 0 };
  }

  return {
    read(params: unknown, promptTokens: number): TransferWish {
      if (typeof params !== 'object' || params === null || Array.isArray(params)) {
        throw new SluiceError('invalid_request', `\`${PARAM}\` must be an object`, { param: PARAM });
      }
      const keep = flag(params, 'do_remote_decode');
      const pull = flag(params, 'do_remote_prefill');
      if (keep && pull) throw malformed('do_remote_prefill', 'false when do_remote_decode is true');
      if (keep) return { kind: 'keep' };
      return pull ? { kind: 'take', ticket: take(params, promptTokens) } : { kind: 'none' };
    },
    answer(ticket: HandOffTicket, promptTokens: number, cachedTokens: number): object {
      return {
        do_remote_prefill: true,
        do_remote_decode: false,
        remote_block_ids: [Array.from({ length: Math.ceil(promptTokens / blockTokens) }, (_, index) => index)],
        remote_engine_id: ticket.incarnation,
        remote_request_id: ticket.lease === '' ? NO_LEASE : ticket.lease,
        remote_host: ticket.host,
        remote_port: ticket.port,
        tp_size: 1,
        dcp_size: 1,
        pp_size: 1,
        remote_num_tokens: promptTokens,
        remote_blocks_expiry_time: null,
        transfer_mode: 'pull',
        remote_prefill_cached_tokens: cachedTokens,
      };
    },
  };
}
