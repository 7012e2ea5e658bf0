/**
 * Sends spans to an OpenTelemetry collector, in batches and beside the requests that they are of.
 *
 * Invariants
 * - `offer` never waits and never throws. At most MAX_QUEUED spans wait; what comes then is dropped, and counted.
 * - One batch is under way at a time. It is sent at most MAX_TRIES times, each within TRY_MS; then it is dropped, and counted.
 * - Every span that was offered is counted once: exported, or dropped with its reason.
 */
import { Agent, backoffMs, type Cancel, type Clock, request, sleep } from '../../shared/index.ts';
import type { Logger } from '../log.ts';
import { exportBody, TRACES_PATH, type Verdict, verdictOf } from './otlp.ts';
import type { Attributes, Span } from './span.ts';

/** `full`: too many waited; `refused`: the collector will not have them; `unreachable`: it could not be asked, or not in time. */
type DropReason = 'full' | 'refused' | 'unreachable';

interface ExporterOptions {
  /** `http://host:port` of an OTLP/HTTP receiver. */
  readonly endpoint: string;
  /** Who makes the spans: `service.name` at least. */
  readonly resource: Attributes;
  readonly clock: Clock;
  /** [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
}

/** About 6 MiB of them. */
const MAX_QUEUED = 4_096;
/** About 120 KB in JSON: writing it, for which streams wait, takes a millisecond at most. */
const MAX_BATCH = 128;
/** How long a span waits for others. */
const GATHER_MS = 1_000;
const TRY_MS = 5_000;
const MAX_TRIES = 4;
const AGAIN = { firstMs: 1_000, maxMs: 10_000, factor: 2 } as const;
/** Longest wait that a collector may ask for. */
const MAX_RETRY_AFTER_MS = 30_000;
const MAX_ANSWER_BYTES = 16_384;

export class SpanExporter {
  readonly dropped: Record<DropReason, number> = { full: 0, refused: 0, unreachable: 0 };
  exported = 0;
  readonly #options: ExporterOptions;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #closing = new AbortController();
  #queue: Span[] = [];
  /** Of the batch that is under way. */
  #sending = 0;
  #timer: Cancel | null = null;
  #run: Promise<void> | null = null;
  #failures = 0;
  /** Whether the log says that it cannot be reached. */
  #away = false;

  constructor(options: ExporterOptions) {
    this.#options = options;
  }

  /** Spans that wait, those under way included. */
  get queued(): number {
    return this.#queue.length + this.#sending;
  }

  /** All of them or none: a trace with holes says less than none. */
  offer(spans: readonly Span[]): void {
    if (this.queued + spans.length > MAX_QUEUED || this.#closing.signal.aborted) {
      this.dropped.full += spans.length;
      return;
    }
    this.#queue.push(...spans);
    if (this.#run !== null) return;
    if (this.#queue.length >= MAX_BATCH) this.#schedule(0);
    else if (this.#timer === null) this.#schedule(GATHER_MS);
  }

  /** Sends what waits, once, for at most `ms`; what is left then is dropped. Never rejects. */
  async close(ms: number): Promise<void> {
    this.#timer?.();
    this.#closing.abort();
    const drained = new AbortController();
    await Promise.race([this.#drain(), sleep(this.#options.clock, ms, drained.signal)]);
    // A timer that is left would keep a process that has ended for as long.
    drained.abort();
    this.dropped.unreachable += this.#queue.length;
    this.#queue = [];
    this.#agent.destroy();
  }

  async #drain(): Promise<void> {
    await this.#run;
    while (this.#queue.length > 0) await this.#send();
  }

  #schedule(ms: number): void {
    this.#timer?.();
    this.#timer = this.#options.clock.after(ms, () => {
      this.#timer = null;
      this.#run = this.#sendAll().finally(() => {
        this.#run = null;
        if (this.#queue.length > 0 && !this.#closing.signal.aborted) this.#schedule(GATHER_MS);
      });
    });
  }

  /** All that there is now, and whole batches that came meanwhile. */
  async #sendAll(): Promise<void> {
    do await this.#send();
    while (this.#queue.length >= MAX_BATCH && !this.#closing.signal.aborted);
  }

  async #send(): Promise<void> {
    const spans = this.#queue.splice(0, MAX_BATCH);
    this.#sending = spans.length;
    const verdict = await this.#untilDecided(exportBody(this.#options.resource, spans));
    this.#sending = 0;
    const rejected = verdict.kind === 'taken' ? Math.min(spans.length, verdict.rejected) : spans.length;
    this.exported += spans.length - rejected;
    this.dropped[verdict.kind === 'retry' ? 'unreachable' : 'refused'] += rejected;
    if (verdict.kind !== 'retry' && rejected > 0) this.#options.log.warn({ rejected, why: verdict.why }, 'the collector refused spans');
  }

  async #untilDecided(body: string): Promise<Verdict> {
    const { clock, random } = this.#options;
    for (let tries = 1; ; tries += 1) {
      const verdict = await this.#post(body);
      this.#tell(verdict);
      if (verdict.kind !== 'retry') return verdict;
      if (tries === MAX_TRIES) return verdict;
      const waitMs =
        verdict.afterMs === null ? backoffMs(AGAIN, this.#failures - 1, random()) : Math.min(verdict.afterMs, MAX_RETRY_AFTER_MS);
      await sleep(clock, waitMs, this.#closing.signal);
      if (this.#closing.signal.aborted) return verdict;
    }
  }

  /** Said when it changes, not with every batch; not at the first failure, which may be of a connection that had lain idle. */
  #tell({ kind, why }: Verdict): void {
    const { log, endpoint } = this.#options;
    this.#failures = kind === 'retry' ? this.#failures + 1 : 0;
    const away = this.#failures > 1;
    if (away === this.#away) return;
    this.#away = away;
    if (away) log.warn({ endpoint, why }, 'spans cannot be sent to the collector; requests go on, spans that have no room are dropped');
    else log.info({ endpoint, dropped: this.dropped }, 'spans reach the collector again');
  }

  #post(body: string): Promise<Verdict> {
    const { endpoint, clock } = this.#options;
    return new Promise((resolve) => {
      const settle = (verdict: Verdict) => {
        cancel();
        resolve(verdict);
      };
      const failed = ({ message }: Error) => settle({ kind: 'retry', why: message, afterMs: null });
      const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
      const sent = request(`${endpoint}${TRACES_PATH}`, { method: 'POST', agent: this.#agent, headers }, (answer) => {
        let said = '';
        answer.setEncoding('utf8');
        answer.on('data', (piece: string) => {
          if (said.length < MAX_ANSWER_BYTES) said += piece;
        });
        answer.on('error', failed);
        answer.on('end', () =>
          settle(verdictOf({ status: answer.statusCode ?? 0, retryAfter: answer.headers['retry-after'], body: said })),
        );
      });
      const cancel = clock.after(TRY_MS, () => sent.destroy(new Error(`no answer within ${TRY_MS} ms`)));
      sent.on('error', failed);
      sent.end(body);
    });
  }
}
