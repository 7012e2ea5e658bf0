/** One whole answer, for what is not on the request path: info, tokenize, release. */
import { type Clock, sleep } from '../../shared/index.ts';
import type { ResponseSink, UpstreamFailure } from './connection.ts';
import type { ResponseHead } from './head.ts';
import type { Pool } from './pool.ts';

export interface BufferedAnswer {
  readonly status: number;
  readonly contentType: string | null;
  readonly body: Buffer;
}

export interface FetchOptions {
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly maxBytes: number;
  readonly signal?: AbortSignal;
}

/** The request failed: no connection, a broken or oversized answer, or no answer in time. */
export class FetchError extends Error {
  /** No answer came in time. */
  readonly late: boolean;

  constructor(message: string) {
    super(message);
    this.late = message === LATE;
  }
}

const LATE = 'no answer in time';

/**
 * Sends `head` and `body` and collects the answer.
 * @throws FetchError
 */
export function fetchBuffered(pool: Pool, head: string, body: Buffer | null, options: FetchOptions): Promise<BufferedAnswer> {
  return new Promise((resolve, reject) => {
    const done = new AbortController();
    const sink = new Collector(options.maxBytes, (failure, answer) => {
      done.abort();
      options.signal?.removeEventListener('abort', onAbort);
      if (answer) resolve(answer);
      else reject(new FetchError(failure));
    });
    const leg = pool.request(head, body, sink);
    const giveUp = (why: string) => {
      leg.abort();
      sink.fail({ kind: 'lost', message: why });
    };
    const onAbort = () => giveUp('cancelled');
    sink.onOversize = () => giveUp(`an answer of more than ${options.maxBytes} bytes`);
    options.signal?.addEventListener('abort', onAbort, { once: true });
    if (options.signal?.aborted) giveUp('cancelled');
    void sleep(options.clock, options.timeoutMs, done.signal).then(() => {
      if (!done.signal.aborted) giveUp(LATE);
    });
  });
}

class Collector implements ResponseSink {
  readonly #maxBytes: number;
  readonly #done: (failure: string, answer: BufferedAnswer | null) => void;
  #head: ResponseHead | null = null;
  #pieces: Buffer[] = [];
  #bytes = 0;
  #ended = false;
  onOversize: () => void = () => undefined;

  constructor(maxBytes: number, done: (failure: string, answer: BufferedAnswer | null) => void) {
    this.#maxBytes = maxBytes;
    this.#done = done;
  }

  head(head: ResponseHead): void {
    this.#head = head;
  }

  data(piece: Buffer): void {
    if (this.#ended) return;
    this.#bytes += piece.length;
    if (this.#bytes > this.#maxBytes) this.onOversize();
    else this.#pieces.push(Buffer.from(piece));
  }

  flush(): void {}

  end(): void {
    if (this.#ended || !this.#head) return;
    this.#ended = true;
    this.#done('', { status: this.#head.status, contentType: this.#head.contentType, body: Buffer.concat(this.#pieces) });
  }

  fail(failure: UpstreamFailure): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#done(failure.message, null);
  }
}
