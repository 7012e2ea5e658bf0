/** What a prefill instance answers: where its blocks are, and what it had of the prompt. Pure. */
import { isRecord, recordOf } from '../openai/json.ts';

/** `kv_transfer_params` as they came. They go to one decode leg, untouched. */
export type TransferParams = Readonly<Record<string, unknown>>;

export interface HandOff {
  readonly params: TransferParams;
  readonly promptTokens: number;
  /** Prompt tokens that the prefill instance did not have to compute; null = it did not say. */
  readonly cachedTokens: number | null;
  /** Blocks that can be pulled, the unfinished last one too. */
  readonly blocks: number;
}

/**
 * Reads a prefill leg's 200. Params that do not fit the prompt end the decode instance's engine, so they are counted here.
 * @returns the hand-off, or why it is none
 */
export function readHandOff(body: Buffer, blockTokens: number): HandOff | string {
  const answer = recordOf(body);
  if (answer === null) return 'its answer is no JSON object';
  const params = answer['kv_transfer_params'];
  if (!isRecord(params) || params['do_remote_prefill'] !== true) return 'its answer has no params for a hand-off';
  const usage = answer['usage'];
  const promptTokens = isRecord(usage) ? usage['prompt_tokens'] : undefined;
  if (typeof promptTokens !== 'number') return 'its answer does not say how long the prompt is';
  const blocks = Math.ceil(promptTokens / blockTokens);
  const misfit = misfitOf(params, promptTokens, blocks);
  if (misfit !== null) return misfit;
  return { params, promptTokens, blocks, cachedTokens: cachedOf(usage, params) };
}

const TEXTS = ['remote_engine_id', 'remote_request_id', 'remote_host'];

function misfitOf(params: TransferParams, promptTokens: number, blocks: number): string | null {
  const missing = TEXTS.find((name) => typeof params[name] !== 'string');
  if (missing !== undefined || typeof params['remote_port'] !== 'number') return `its params lack ${missing ?? 'remote_port'}`;
  const groups: unknown = params['remote_block_ids'];
  if (!Array.isArray(groups) || groups.length === 0) return 'its params name no blocks';
  const counts = groups.map((ids: unknown) => (Array.isArray(ids) ? ids.length : -1));
  if (counts.some((count) => count !== blocks))
    return `its params name ${counts.join(' and ')} blocks where the ${promptTokens} tokens of the prompt have ${blocks}`;
  const tokens = params['remote_num_tokens'];
  return tokens === undefined || tokens === null || tokens === promptTokens
    ? null
    : `its params are for ${JSON.stringify(tokens)} tokens where the prompt has ${promptTokens}`;
}

function cachedOf(usage: unknown, params: TransferParams): number | null {
  const details = isRecord(usage) ? usage['prompt_tokens_details'] : null;
  const told = [isRecord(details) ? details['cached_tokens'] : null, params['remote_prefill_cached_tokens']];
  return told.find((count) => typeof count === 'number') ?? null;
}
