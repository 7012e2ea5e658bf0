/** Whole (not streamed) answers of engines that are not ours. Pure. */
import { SluiceError } from '../../../shared/index.ts';
import type { WholeAnswer } from '../dialects/index.ts';
import type { StreamUsage } from './events.ts';
import { isRecord, recordOf } from './json.ts';
import { cachedIn, correctCached, numberIn } from './usage.ts';

export interface EngineAnswer extends WholeAnswer {
  readonly usage: StreamUsage | null;
}

/**
 * @param prefillCached prompt tokens that the prefill instance had; null after no hand-off
 * @returns the answer for the client, or why it is none
 */
export function readWhole(body: Buffer, prefillCached: number | null): EngineAnswer | SluiceError {
  const answer = recordOf(body);
  const choices = answer !== null && Array.isArray(answer['choices']) ? answer['choices'].filter(isRecord) : [];
  if (answer === null || choices.length === 0) return new SluiceError('engine_failed', 'the instance answered without choices');
  const reasons = choices.map((choice) => choice['finish_reason']);
  if (reasons.includes('abort') || reasons.includes('error')) return new SluiceError('engine_failed', 'the engine gave the request up');
  const usage = isRecord(answer['usage']) ? answer['usage'] : null;
  const corrected = usage !== null && correctCached(usage, prefillCached);
  // A decode instance may offer its own blocks, with its address.
  const offers = isRecord(answer['kv_transfer_params']);
  if (offers) answer['kv_transfer_params'] = null;
  const finishReason = reasons.find((reason) => typeof reason === 'string') ?? null;
  return {
    body: corrected || offers ? Buffer.from(JSON.stringify(answer)) : body,
    outputTokens: usage === null ? 0 : numberIn(usage, 'completion_tokens'),
    finishReason,
    usage: usage && { promptTokens: numberIn(usage, 'prompt_tokens'), cachedTokens: cachedIn(usage) },
  };
}

/** OpenAI's error as the engine wrote it, SGLang's without the object around it; anything else is not for clients. */
export function readRefusal(status: number, body: Buffer): Buffer {
  const answer = recordOf(body);
  const error = answer?.['object'] === 'error' ? answer : answer?.['error'];
  const { message, type, param = null } = isRecord(error) ? error : {};
  const isKnown = typeof message === 'string' && typeof type === 'string';
  const told = isKnown
    ? { message: message.replace(ADDRESS, '(address)'), type, param, code: status }
    : { message: `the engine refused the request with HTTP ${status}`, type: 'invalid_request_error', param: null, code: status };
  return Buffer.from(JSON.stringify({ error: told }));
}

const ADDRESS = /\b(?:https?|tcp):\/\/[^\s"')]+/g;
