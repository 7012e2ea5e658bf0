/**
 * What a client asks of an SGLang, checked: the fields that this simulator knows, one prompt and one choice, rooms up to 2^53 - 1 (SGLang: up
 * to 2^63 - 1). Refusals have SGLang's shape and not its words. Pure.
 */
import type { CallKind } from '../../openai/call.ts';
import { type Body, isObject } from '../../openai/fields.ts';
import { parseVllmCall, type VllmCall, type VllmCallContext } from '../nixl/call.ts';
import { malformed, refused } from '../nixl/fields.ts';
import type { RoomAddress } from './claim.ts';

export interface SglangCall {
  readonly kind: CallKind;
  /** Name of the request; no other one of the instance has it. */
  readonly rid: string;
  readonly asked: VllmCall;
  readonly prompt: Int32Array;
  /** Null: no fields of a hand-off. */
  readonly room: RoomAddress | null;
}

const DEFAULT_PORT = 8998;

/** @throws Refusal; SluiceError model_not_found, invalid_request (messages) */
export function parseSglangCall(kind: CallKind, body: Body, context: VllmCallContext): SglangCall {
  const asked = parseVllmCall(kind, withoutForeign(body), context);
  const [prompt] = asked.prompts;
  if (asked.choices !== 1 || prompt === undefined || asked.prompts.length !== 1) {
    throw refused('This simulator of SGLang answers one prompt with one choice.', 'n');
  }
  if (asked.sampling.logprobs !== null) throw refused('This simulator of SGLang gives no logprobs.', 'logprobs');
  const rid = body['rid'];
  return { kind, rid: typeof rid === 'string' ? rid : context.requestId, asked, prompt, room: roomIn(body) };
}

/** Fields that mean something to vLLM alone. */
function withoutForeign({ kv_transfer_params: _params, request_id: _id, return_token_ids: _ids, ...body }: Body): Body {
  return body;
}

function roomIn(body: Body): RoomAddress | null {
  const { bootstrap_room: room = null, bootstrap_host: host = null, bootstrap_port: port = null } = body;
  if (room === null) return null;
  if (typeof room !== 'number' || !Number.isSafeInteger(room) || room < 0) {
    throw malformed('body.bootstrap_room', 'a valid integer', room);
  }
  if (typeof host !== 'string') throw malformed('body.bootstrap_host', 'a valid string', host);
  if (port !== null && typeof port !== 'number') throw malformed('body.bootstrap_port', 'a valid integer', port);
  return { host, port: port ?? DEFAULT_PORT, room: String(room) };
}

/** @throws Refusal */
export function ridIn(body: unknown): string {
  const rid = isObject(body) ? body['rid'] : null;
  if (typeof rid !== 'string') throw malformed('body.rid', 'a valid string', rid);
  return rid;
}
