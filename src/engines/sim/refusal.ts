/** Whether a simulated engine takes a request. */
import { SluiceError } from '../../shared/index.ts';
import type { EngineRequest } from '../port.ts';

export interface Condition {
  readonly dead: boolean;
  readonly draining: boolean;
  readonly waiting: number;
}

export interface Room {
  readonly maxWaiting: number;
  readonly contextTokens: number;
}

/** Why it is not taken, or null. */
export function refusalOf(
  request: EngineRequest,
  { dead, draining, waiting }: Condition,
  { maxWaiting, contextTokens }: Room,
): SluiceError | null {
  if (dead) return deadError();
  if (draining) return new SluiceError('unavailable', 'the engine drains and takes no new requests', { retryAfterSeconds: 1 });
  if (waiting >= maxWaiting) return new SluiceError('queue_full', `${maxWaiting} requests are waiting already`, { retryAfterSeconds: 1 });
  const { prompt, sampling } = request;
  if (prompt.length + sampling.maxTokens <= contextTokens) return null;
  const message = `prompt (${prompt.length}) and max_tokens (${sampling.maxTokens}) exceed the context of ${contextTokens} tokens`;
  return new SluiceError('context_length_exceeded', message);
}

export function deadError(): SluiceError {
  return new SluiceError('engine_failed', 'the core of the engine is dead');
}
