/** One call to an API server: bounded in time, size and tries, and abortable. */
import { type Clock, sleep } from '../../shared/index.ts';
import { type Asked, KubernetesError, readStatus, type ServerStatus, sentence, transportFailure } from './failure.ts';
import { type RetryPolicy, retryAfterMs, type Setback } from './retry.ts';
import type { Transport, WireRequest, WireResponse } from './transport.ts';

export interface CallOptions {
  readonly signal?: AbortSignal;
  /** Bound of one try, from the request to the last byte of its answer. */
  readonly timeoutMs?: number;
  /** All tries, the first included. */
  readonly attempts?: number;
}

export interface CallerOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly retry: RetryPolicy;
  readonly timeoutMs: number;
}

export type Answer = { readonly kind: 'body'; readonly body: unknown } | { readonly kind: 'status'; readonly status: ServerStatus };

/** A list of 500 large objects is about 10 MB; more than this is no answer of an API server. */
const MAX_ANSWER_BYTES = 128 * 1024 * 1024;

export class Caller {
  readonly #options: CallerOptions;

  constructor(options: CallerOptions) {
    this.#options = options;
  }

  /** The answer of the API server, good or bad, after retries. Throws KubernetesError when there is none. */
  async call(asked: Asked, request: Omit<WireRequest, 'signal'>, options: CallOptions = {}): Promise<Answer> {
    const retry = { ...this.#options.retry, attempts: options.attempts ?? this.#options.retry.attempts };
    for (let attempt = 0; ; attempt += 1) {
      const outcome = await this.#attempt(asked, request, options);
      if (outcome.kind === 'body') return outcome;
      const waitMs = retryAfterMs(retry, outcome, attempt, this.#options.random());
      if (waitMs === null) {
        if (outcome.kind === 'error') throw outcome.error;
        return outcome;
      }
      await sleep(this.#options.clock, waitMs, options.signal);
      if (options.signal?.aborted) throw aborted(asked);
    }
  }

  /** Opens a stream whose end is the caller's to bound: only the head of the answer is timed. Bad answers come as a status. */
  async open(asked: Asked, path: string, { signal, timeoutMs }: { signal: AbortSignal; timeoutMs: number }): Promise<Opened> {
    const limit = this.#limit(timeoutMs, signal);
    try {
      const response = await this.#options.transport.send({ method: 'GET', path, signal: limit.signal });
      if (response.status === 200) return { kind: 'stream', body: response.body, close: () => limit.abort() };
      const text = await readText(response);
      return { kind: 'status', status: statusOf(response, text) };
    } catch (thrown) {
      throw limit.failure(asked, thrown);
    } finally {
      limit.stopTimer();
    }
  }

  async #attempt(asked: Asked, request: Omit<WireRequest, 'signal'>, options: CallOptions): Promise<Answer | Setback> {
    if (options.signal?.aborted) throw aborted(asked);
    const limit = this.#limit(options.timeoutMs ?? this.#options.timeoutMs, options.signal);
    try {
      const response = await this.#options.transport.send({ ...request, signal: limit.signal });
      const text = await readText(response);
      if (response.status >= 200 && response.status < 300) return { kind: 'body', body: JSON.parse(text) };
      return { kind: 'status', status: statusOf(response, text) };
    } catch (thrown) {
      const error = limit.failure(asked, thrown);
      if (error.reason === 'aborted') throw error;
      return { kind: 'error', error };
    } finally {
      limit.stopTimer();
      limit.release();
    }
  }

  #limit(timeoutMs: number, outer: AbortSignal | undefined): Limit {
    const controller = new AbortController();
    const abort = () => controller.abort();
    const release = () => outer?.removeEventListener('abort', abort);
    let late = false;
    if (outer?.aborted) abort();
    outer?.addEventListener('abort', abort, { once: true });
    const stopTimer = this.#options.clock.after(timeoutMs, () => {
      late = true;
      abort();
    });
    return {
      signal: controller.signal,
      abort: () => {
        release();
        abort();
      },
      release,
      stopTimer,
      failure: (asked, thrown) => {
        release();
        abort();
        if (outer?.aborted) return aborted(asked);
        if (!late) return transportFailure(asked, thrown);
        const text = `cannot ${sentence(asked)}: the API server did not answer within ${timeoutMs} ms. Check its load and the network.`;
        return new KubernetesError('timeout', text, thrown);
      },
    };
  }
}

export type Opened =
  | { readonly kind: 'stream'; readonly body: AsyncIterable<Uint8Array>; close(): void }
  | { readonly kind: 'status'; readonly status: ServerStatus };

interface Limit {
  readonly signal: AbortSignal;
  abort(): void;
  release(): void;
  stopTimer(): void;
  failure(asked: Asked, thrown: unknown): KubernetesError;
}

function aborted(asked: Asked): KubernetesError {
  return new KubernetesError('aborted', `${sentence(asked)} was given up: the caller stops`);
}

function statusOf(response: WireResponse, text: string): ServerStatus {
  const status = readStatus(response.status, text);
  const seconds = Number(response.retryAfter ?? Number.NaN);
  return Number.isFinite(seconds) && seconds > 0 ? { ...status, retryAfterSeconds: seconds } : status;
}

async function readText(response: WireResponse): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of response.body) {
    bytes += part.byteLength;
    if (bytes > MAX_ANSWER_BYTES) throw new Error(`the answer is larger than ${MAX_ANSWER_BYTES} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}
