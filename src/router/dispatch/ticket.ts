/** The ticket that a flight holds between its two legs; a lease that is not taken up is given back. */
import type { HandOffTicket } from '../../engines/index.ts';
import type { Clock } from '../../shared/index.ts';
import type { Instance } from '../instances/instance.ts';
import { fetchBuffered } from '../upstream/index.ts';
import { releaseHead } from './heads.ts';

const RELEASE_TIMEOUT_MS = 1_000;
const MAX_ANSWER_BYTES = 4096;

export class HeldTicket {
  readonly #clock: Clock;
  #held: { readonly ticket: HandOffTicket; readonly from: Instance } | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  hold(ticket: HandOffTicket, from: Instance): void {
    this.#held = { ticket, from };
  }

  /** The decode instance acknowledged it. */
  taken(): void {
    this.#held = null;
  }

  /** The hand-off will not happen. */
  release(): void {
    const held = this.#held;
    this.#held = null;
    if (held === null || held.ticket.lease === '') return;
    const { pool, host } = held.from.requests;
    const body = Buffer.from(JSON.stringify({ lease: held.ticket.lease }));
    const options = { clock: this.#clock, timeoutMs: RELEASE_TIMEOUT_MS, maxBytes: MAX_ANSWER_BYTES };
    // A lease that cannot be given back ends by itself.
    fetchBuffered(pool, releaseHead(host, body.length), body, options).catch(() => undefined);
  }
}
