/** Usage as the client gets it. Pure. */
import { isRecord } from './json.ts';

/**
 * After a hand-off the decode instance calls nearly all of the prompt cached; what was saved is what the prefill instance had. An
 * engine that gives no details goes on giving none.
 * @returns true when `usage` was changed
 */
export function correctCached(usage: Record<string, unknown>, prefillCached: number | null): boolean {
  const details = usage['prompt_tokens_details'];
  if (prefillCached === null || !isRecord(details) || details['cached_tokens'] === prefillCached) return false;
  details['cached_tokens'] = prefillCached;
  return true;
}

export function numberIn(fields: Readonly<Record<string, unknown>>, name: string): number {
  const value = fields[name];
  return typeof value === 'number' ? value : 0;
}

/** Null when the engine gives no details. */
export function cachedIn(usage: Readonly<Record<string, unknown>>): number | null {
  const details = usage['prompt_tokens_details'];
  const cached = isRecord(details) ? details['cached_tokens'] : null;
  return typeof cached === 'number' ? cached : null;
}
