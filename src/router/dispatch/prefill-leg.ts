/** Takes the prefill instance's answer: a ticket and a report. */
import type { HandOffTicket, PromptReport } from '../../engines/index.ts';
import type { ResponseHead, ResponseSink, UpstreamFailure } from '../upstream/index.ts';

export interface PrefillLegEvents {
  done(ticket: HandOffTicket, report: PromptReport): void;
  /** Any status but 200. */
  rejected(answer: { readonly head: ResponseHead; readonly body: Buffer }): void;
  failed(message: string): void;
}

const MAX_BYTES = 1 << 20;

export class PrefillLeg implements ResponseSink {
  readonly #events: PrefillLegEvents;
  #head: ResponseHead | null = null;
  #pieces: Buffer[] = [];
  #bytes = 0;

  constructor(events: PrefillLegEvents) {
    this.#events = events;
  }

  head(head: ResponseHead): void {
    this.#head = head;
  }

  data(piece: Buffer): void {
    this.#bytes += piece.length;
    if (this.#bytes <= MAX_BYTES) this.#pieces.push(Buffer.from(piece));
  }

  flush(): void {}

  end(): void {
    const head = this.#head as ResponseHead;
    const body = Buffer.concat(this.#pieces);
    if (head.status !== 200) return this.#events.rejected({ head, body });
    const answer = this.#bytes <= MAX_BYTES ? readAnswer(body) : null;
    if (answer) this.#events.done(answer.ticket, answer.report);
    else this.#events.failed('its answer is no hand-off');
  }

  fail(failure: UpstreamFailure): void {
    this.#events.failed(failure.kind === 'connect' ? 'the instance cannot be reached' : 'the connection broke');
  }
}

function readAnswer(body: Buffer): { ticket: HandOffTicket; report: PromptReport } | null {
  try {
    const { object, ticket, report } = JSON.parse(body.toString('utf8')) as {
      object?: string;
      ticket?: HandOffTicket;
      report?: PromptReport;
    };
    return object === 'sluice.handoff' && ticket && report ? { ticket, report } : null;
  } catch {
    return null; // said as a failure by the caller
  }
}
