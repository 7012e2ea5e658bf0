/** Reads the decode instance's answer: a stream, event by event, or a whole answer. */
import { SluiceError } from '../../shared/index.ts';
import type { LegReport } from '../record/index.ts';
import type { ResponseHead, ResponseSink, UpstreamFailure } from '../upstream/index.ts';
import type { Speech, StreamStop } from './dialects/index.ts';

export interface DecodeLegEvents {
  /** The first token is there. Once, before any event. */
  spoke(report: LegReport | null): void;
  /** Events for the client, in memory of their own. */
  events(bytes: Buffer): void;
  /** The instance sends what the client has already. */
  skipped(): void;
  /** The stream is of no use any more. */
  stopped(stop: StreamStop): void;
  /** The stream ended, well if its `[DONE]` was among the events. */
  ended(): void;
  /** A complete answer that is no stream. */
  answered(head: ResponseHead, body: Buffer): void;
  lost(error: SluiceError): void;
}

type Spoken = Pick<Speech, 'events' | 'headSpeaks' | 'spoken'>;

/** A whole answer is held until it is complete, so that a broken one can be asked for again. */
const MAX_ANSWER_BYTES = 32 << 20;

export class DecodeLeg implements ResponseSink {
  readonly #speech: Spoken;
  readonly #stream: boolean;
  readonly #events: DecodeLegEvents;
  #head: ResponseHead | null = null;
  #streaming = false;
  #spoke = false;
  #pieces: Buffer[] = [];
  #bytes = 0;

  constructor(speech: Spoken, stream: boolean, events: DecodeLegEvents) {
    this.#speech = speech;
    this.#stream = stream;
    this.#events = events;
  }

  head(head: ResponseHead): void {
    this.#head = head;
    if (head.status !== 200) return;
    this.#streaming = this.#stream;
    if (this.#speech.headSpeaks) this.#speak(head);
  }

  data(piece: Buffer): void {
    if (this.#streaming) {
      const events = this.#speech.events.take(piece);
      if (events) this.#pieces.push(events);
      return;
    }
    this.#bytes += piece.length;
    if (this.#bytes <= MAX_ANSWER_BYTES) this.#pieces.push(Buffer.from(piece));
  }

  flush(): void {
    if (!this.#streaming) return;
    const [first, ...more] = this.#pieces;
    const { heard, stopped } = this.#speech.events;
    if (!this.#spoke && (first || heard)) this.#speak(this.#head as ResponseHead);
    if (first) {
      this.#pieces = [];
      this.#events.events(more.length === 0 ? first : Buffer.concat([first, ...more]));
    } else if (heard) this.#events.skipped();
    if (stopped !== null) this.#events.stopped(stopped);
  }

  end(): void {
    const head = this.#head as ResponseHead;
    if (this.#streaming) return this.#events.ended();
    if (this.#bytes > MAX_ANSWER_BYTES)
      return this.#events.lost(new SluiceError('internal', `the answer is larger than ${MAX_ANSWER_BYTES} bytes`));
    this.#events.answered(head, this.#pieces.length === 1 && this.#pieces[0] ? this.#pieces[0] : Buffer.concat(this.#pieces));
  }

  fail(failure: UpstreamFailure): void {
    this.#events.lost(new SluiceError('engine_failed', lossOf(failure)));
  }

  #speak(head: ResponseHead): void {
    this.#spoke = true;
    this.#events.spoke(this.#speech.spoken(head));
  }
}

function lossOf({ kind, message }: UpstreamFailure): string {
  if (kind === 'connect') return 'the instance cannot be reached';
  return kind === 'overload' ? message : 'the connection to the instance broke';
}
