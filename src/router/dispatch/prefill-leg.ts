/** Collects the prefill instance's answer. */
import type { Clock } from '../../shared/index.ts';
import type { ResponseHead, ResponseSink, UpstreamFailure } from '../upstream/index.ts';
import type { PrefillAnswer } from './dialects/index.ts';

export interface PrefillLegEvents {
  /** A 200. */
  done(answer: PrefillAnswer): void;
  /** Any status but 200. */
  rejected(answer: { readonly head: ResponseHead; readonly body: Buffer }): void;
  failed(message: string): void;
}

const MAX_BYTES = 1 << 20;

export class PrefillLeg implements ResponseSink {
  readonly #events: PrefillLegEvents;
  readonly #clock: Clock;
  readonly #readUntil: () => number;
  readonly #startedAt: number;
  #headAt = 0;
  #head: ResponseHead | null = null;
  #pieces: Buffer[] = [];
  #bytes = 0;

  /** @param readUntil up to when all that had come was read: a head that is read now may have lain there since */
  constructor(events: PrefillLegEvents, clock: Clock, readUntil: () => number) {
    this.#events = events;
    this.#clock = clock;
    this.#readUntil = readUntil;
    this.#startedAt = clock.now();
  }

  head(head: ResponseHead): void {
    this.#headAt = Math.max(this.#startedAt, this.#readUntil());
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
    if (this.#bytes > MAX_BYTES) this.#events.failed('its answer is too long');
    else this.#events.done({ body, ageMs: this.#clock.now() - this.#headAt });
  }

  fail(failure: UpstreamFailure): void {
    this.#events.failed(failure.kind === 'connect' ? 'the instance cannot be reached' : 'the connection broke');
  }
}
