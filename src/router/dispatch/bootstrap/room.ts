/**
 * The room in which a prefill and a decode instance of SGLang meet for one attempt of one request, and how both are told that it is over.
 * SGLang waits in a room for five minutes for a peer that does not come, and looks only every few seconds whether its client is still there.
 */
import type { Clock } from '../../../shared/index.ts';
import type { Instance } from '../../instances/instance.ts';
import { fetchBuffered } from '../../upstream/index.ts';
import { abortHead } from '../heads.ts';

export interface Room {
  readonly number: number;
  /** Of the prefill instance's bootstrap server. */
  readonly host: string;
  readonly port: number;
}

const ABORT_TIMEOUT_MS = 1_000;
const MAX_ANSWER_BYTES = 4_096;

/** Tells an instance that nobody waits for this request any more. Nothing follows if it cannot be told. */
export function abortOn({ requests: { pool, host } }: Instance, rid: string, clock: Clock): void {
  const body = Buffer.from(JSON.stringify({ rid }));
  const options = { clock, timeoutMs: ABORT_TIMEOUT_MS, maxBytes: MAX_ANSWER_BYTES };
  fetchBuffered(pool, abortHead(host, body.length), body, options).catch(() => undefined);
}
