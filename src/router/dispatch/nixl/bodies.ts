/** Request bodies for vLLM with its NixlConnector. Pure. */
import type { ParsedRequest } from '../../edge/index.ts';
import { withFields } from '../openai/bodies.ts';
import type { TransferParams } from './hand-off.ts';

type Fields = Record<string, unknown>;

/** Asks a prefill instance to keep the prompt's blocks and to say where they are. */
const KEEP_BLOCKS = {
  do_remote_decode: true,
  do_remote_prefill: false,
  remote_engine_id: null,
  remote_block_ids: null,
  remote_host: null,
  remote_port: null,
};

/**
 * Fields that only concern the tokens to come. Everything else stays, `tool_choice` and `response_format` too: chat templates may
 * put them into the prompt, and blocks that do not fit the decode instance's prompt end its engine.
 */
const OF_THE_ANSWER: ReadonlySet<string> = new Set([
  'stream_options',
  'stream_interval',
  'min_tokens',
  'stop',
  'stop_token_ids',
  'include_stop_str_in_output',
  'bad_words',
  'logprobs',
  'top_logprobs',
  'logprob_token_ids',
  'structured_outputs',
  'best_of',
  'return_token_ids',
  'return_tokens_as_token_ids',
  'return_prompt_text',
  'repetition_detection',
  'thinking_token_budget',
]);
const GUIDED = /^guided_/;

/**
 * The prefill leg: never streamed, since a stream brings no params; one token, which is thrown away; not the end of text, since a
 * request that ends so may bring no params either.
 */
export function prefillBody(request: ParsedRequest, salt: string): Buffer {
  const given = JSON.parse(request.body.toString('utf8')) as Fields;
  const kept = Object.entries(given).filter(([name]) => !OF_THE_ANSWER.has(name) && !GUIDED.test(name));
  const body: Fields = Object.fromEntries(kept);
  body['stream'] = false;
  body['max_tokens'] = 1;
  if ('max_completion_tokens' in body) body['max_completion_tokens'] = 1;
  if ('n' in body) body['n'] = 1;
  body['ignore_eos'] = true;
  if (salt !== '') body['cache_salt'] = salt;
  body['kv_transfer_params'] = KEEP_BLOCKS;
  return Buffer.from(JSON.stringify(body));
}

export interface DecodeFields {
  readonly salt: string;
  /** Null: the request brought one, or none is wanted. */
  readonly seed: number | null;
  /** Null: the decode instance prefills the prompt itself. */
  readonly params: TransferParams | null;
}

/** The decode leg, or the whole request: the client's bytes with what is ours put behind them. */
export function decodeBody(request: ParsedRequest, { salt, seed, params }: DecodeFields): Buffer {
  const added: Fields = {};
  if (request.stream && !request.includeUsage) added['stream_options'] = { include_usage: true };
  if (salt !== '') added['cache_salt'] = salt;
  if (seed !== null) added['seed'] = seed;
  if (params !== null) added['kv_transfer_params'] = params;
  return withFields(request, added);
}
