/** Reads what engines say in reports and error bodies. Pure. */
import type { PromptReport } from '../../engines/index.ts';
import { SluiceError } from '../../shared/index.ts';
import type { RequestRecord } from '../record/index.ts';
import type { ResponseHead } from '../upstream/index.ts';
import type { Client } from './client.ts';

/** Prompt tokens that an instance did not have to compute. */
export function reusedTokens({ reused }: PromptReport): number {
  return reused.hbm + reused.host + reused.peer + reused.store;
}

export function parseReport(text: string): PromptReport | null {
  try {
    return JSON.parse(text) as PromptReport;
  } catch {
    return null; // a report is for people; a broken one must not break the stream
  }
}

export function messageOf(body: Buffer): string {
  try {
    const parsed: unknown = JSON.parse(body.toString('utf8'));
    const isObject = typeof parsed === 'object' && parsed !== null;
    // SGLang's has no object around it.
    const error = isObject && 'error' in parsed ? parsed.error : parsed;
    if (typeof error === 'object' && error !== null && 'message' in error) return String(error.message).slice(0, 300);
  } catch {
    // Not JSON: nothing of it is shown.
  }
  return 'no reason given';
}

/** An engine's 4xx is the client's fault, and the client is told. */
export function passRefusal(client: Client, record: RequestRecord, refusal: Refusal): void {
  const { head, contentType, body, said } = refusal;
  record.status = head.status;
  record.error = messageOf(said);
  client.answer(head.status, contentType, body, head.retryAfter);
}

interface Refusal {
  readonly head: ResponseHead;
  /** As the client gets it. */
  readonly contentType: string;
  readonly body: Buffer;
  /** As the engine said it. */
  readonly said: Buffer;
}

/** An instance has no room, which is no fault of it. */
export function isCrowded(status: number): boolean {
  return status === 429 || status === 503;
}

/** What a client is told of an engine's 429 or 5xx when nothing else could be tried. */
export function errorOf(head: ResponseHead, body: Buffer): SluiceError {
  const retryAfterSeconds = Number(head.retryAfter ?? 1) || 1;
  if (head.status === 429) return new SluiceError('queue_full', 'the instances have no room now', { retryAfterSeconds });
  if (head.status === 503) return new SluiceError('unavailable', 'the instances take no requests now', { retryAfterSeconds });
  return new SluiceError(
    head.status === 504 ? 'deadline_exceeded' : 'engine_failed',
    `the instance answered ${head.status}: ${messageOf(body)}`,
  );
}

export function interrupted(error: SluiceError): SluiceError {
  return new SluiceError('stream_interrupted', `the stream could not be resumed: ${error.message}`, { cause: error });
}

export function nobodyError(): SluiceError {
  return new SluiceError('unavailable', 'no instance can take the request now', { retryAfterSeconds: 1 });
}
