/** What is asked of an instance where its feed is, apart from requests. */
import { type Clock, SluiceError } from '../../shared/index.ts';
import { fetchBuffered } from '../upstream/index.ts';
import type { Instance } from './instance.ts';

export interface Question {
  readonly path: string;
  /** Null = GET. */
  readonly body: object | null;
  readonly timeoutMs?: number;
}

export type Told<T> = { readonly ok: true; readonly json: T } | { readonly ok: false; readonly why: string };

const ASK_MS = 2_000;
const MAX_BYTES = 4 << 20;

/** Never throws. Engines of ours are trusted to answer in the form that is asked for. */
export async function askInstance<T>({ published }: Instance, clock: Clock, question: Question): Promise<Told<T>> {
  const { path, body, timeoutMs = ASK_MS } = question;
  const bytes = body === null ? null : Buffer.from(JSON.stringify(body));
  const lines = bytes === null ? '' : `content-type: application/json\r\ncontent-length: ${bytes.length}\r\n`;
  const head = `${bytes === null ? 'GET' : 'POST'} ${path} HTTP/1.1\r\nhost: ${published.host}\r\n${lines}\r\n`;
  try {
    const answer = await fetchBuffered(published.pool, head, bytes, { clock, timeoutMs, maxBytes: MAX_BYTES });
    const text = answer.body.toString();
    if (answer.status === 404) return { ok: false, why: 'an engine of its kind cannot be asked' };
    if (answer.status !== 200) return { ok: false, why: `it answered ${answer.status}: ${text.slice(0, 200)}` };
    return { ok: true, json: JSON.parse(text) as T };
  } catch (error) {
    return { ok: false, why: error instanceof Error ? error.message : String(error) };
  }
}

/**
 * Tells it that its streams are to go elsewhere, or may stay again. It tells all routers, so that each does it with its own.
 * @throws SluiceError unavailable when it cannot be told
 */
export async function tellEmptied(instance: Instance, emptied: boolean, clock: Clock): Promise<void> {
  const told = await askInstance(instance, clock, { path: emptied ? '/sluice/empty' : '/sluice/refill', body: {} });
  if (told.ok) return;
  throw new SluiceError('unavailable', `${instance.id} cannot be told that it is ${emptied ? 'drained' : 'taken back'}: ${told.why}`);
}
