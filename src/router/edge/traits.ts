/**
 * What a request asks for that decides how its work may be divided, moved or repeated. Only engines that are not ours need it: ours
 * take a request up in the middle of its tokens. Pure.
 */
import { SluiceError } from '../../shared/index.ts';
import type { RequestKind } from './request.ts';

export interface Traits {
  /** One instance has to do all of it: what another one prefilled would not fit, or the answer is about the prompt itself. */
  readonly undivided: boolean;
  /** The same request gives the same tokens again: greedy, or with the client's seed. */
  readonly repeatable: boolean;
  /** The likeliest token each time. */
  readonly greedy: boolean;
  /** Choices that the answer will have. */
  readonly choices: number;
  /** `cache_salt` as the client gave it; '' = none. */
  readonly cacheSalt: string;
  /** The client gave `stream_options`. */
  readonly streamOptions: boolean;
}

type Fields = Readonly<Record<string, unknown>>;

export const PLAIN: Traits = { undivided: false, repeatable: true, greedy: true, choices: 1, cacheSalt: '', streamOptions: false };

export function traitsOf(kind: RequestKind, body: Fields): Traits {
  const choices = countOf(body['n']) * (kind === 'completion' ? promptCount(body['prompt']) : 1);
  const cacheSalt = body['cache_salt'];
  return {
    undivided: choices > 1 || isUndivided(body),
    greedy: body['temperature'] === 0,
    repeatable: body['temperature'] === 0 || typeof body['seed'] === 'number',
    choices,
    cacheSalt: typeof cacheSalt === 'string' ? cacheSalt : '',
    streamOptions: body['stream_options'] !== undefined,
  };
}

function isUndivided(body: Fields): boolean {
  return (
    countOf(body['best_of']) > 1 ||
    body['use_beam_search'] === true ||
    body['echo'] === true ||
    isGiven(body['prompt_logprobs']) ||
    isGiven(body['prompt_embeds']) ||
    // What is cut off may depend on `max_tokens`, which the prefill leg changes.
    isGiven(body['truncate_prompt_tokens'])
  );
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null;
}

function countOf(value: unknown): number {
  return typeof value === 'number' && value > 1 ? value : 1;
}

function promptCount(prompt: unknown): number {
  return Array.isArray(prompt) && typeof prompt[0] !== 'number' ? Math.max(1, prompt.length) : 1;
}

/**
 * Reads the router's own field, `"sluice": {"resume": "exact"}`: give a sampled request without a seed one, so that another instance
 * can make the same tokens again if the first is lost.
 * @throws SluiceError invalid_request
 */
export function wantsSeed(field: unknown): boolean {
  if (field === undefined) return false;
  const isObject = typeof field === 'object' && field !== null && !Array.isArray(field);
  const known = isObject && Object.entries(field).every(([name, value]) => name === 'resume' && value === 'exact');
  if (!known) {
    throw new SluiceError('invalid_request', `\`sluice\` must be {"resume": "exact"}; got ${shown(field)}`, { param: 'sluice' });
  }
  return 'resume' in field;
}

function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
