/**
 * One request on its way: admitted, placed, prefilled, decoded, streamed; and when something on the way fails, placed again.
 *
 * Invariants
 * - A flight ends once, in `#finish`; from then on it holds no reservation, no connection, no lease and no place in the queue.
 * - Before the first byte a failed attempt is repeated elsewhere (MAX_RETRIES); after it the stream is taken up by another instance
 *   from the tokens that the client already has (MAX_RESUMES). Both count down, so a flight cannot go round for ever.
 * - Every stage has a deadline.
 */
import type { HandOffTicket } from '../../engines/index.ts';
import { SluiceError } from '../../shared/index.ts';
import type { Applicant } from '../admission/admission.ts';
import type { ParsedRequest } from '../edge/index.ts';
import type { Instance } from '../instances/instance.ts';
import type { RequestOutcome, RequestRecord } from '../record/index.ts';
import type { Leg, ResponseHead, ResponseSink, UpstreamFailure } from '../upstream/index.ts';
import { readAnswer } from './answer.ts';
import type { Choice } from './choose.ts';
import type { Client } from './client.ts';
import type { DispatchContext } from './context.ts';
import type { Stage, Watched } from './deadlines.ts';
import { EventFilter } from './events.ts';
import { decodeHead, prefillHead } from './heads.ts';
import { Holdings } from './holdings.ts';
import { Ledger } from './ledger.ts';
import { PrefillLeg } from './prefill-leg.ts';
import { errorOf, interrupted, isCrowded, messageOf, parseReport, reusedTokens } from './reports.ts';
import { HeldTicket } from './ticket.ts';

const MAX_RETRIES = 3;
const MAX_RESUMES = 3;
/** Their ids go in one header of at most 256 KiB. */
const MAX_RESUMED_TOKENS = 30_000;
/** A whole (not streamed) answer is held until it is complete, so that a broken one can be asked for again. */
const MAX_ANSWER_BYTES = 32 << 20;
const EXPECT_MS = 5_000;
const DONE_EVENT = Buffer.from('data: [DONE]\n\n');

export interface FlightOptions {
  readonly id: string;
  readonly model: string;
  readonly tenant: string;
  readonly salt: string;
  /** Probes want the whole way, and are kept out of records and metrics. */
  readonly probe: boolean;
}

export class Flight implements ResponseSink, Applicant, Watched {
  readonly tenant: string;
  deadlineAt: number;
  place = -1;
  readonly #context: DispatchContext;
  readonly #request: ParsedRequest;
  readonly #client: Client;
  readonly #options: FlightOptions;
  readonly #ledger: Ledger;
  readonly #totalAt: number;
  readonly #created: number;
  readonly #seed: number | null;
  readonly #filter: EventFilter;
  readonly #excluded = new Set<Instance>();
  readonly #holdings: Holdings;
  readonly #ticket: HeldTicket;
  #stage: Stage | 'queue' | 'ended' = 'queue';
  #choice: Choice | null = null;
  #leg: Leg | null = null;
  #head: ResponseHead | null = null;
  #pieces: Buffer[] = [];
  #bytes = 0;
  #retries = 0;
  #paused = false;
  /** Admission turned it away, so that there is no place to give back. */
  #refused = false;
  #lastError: SluiceError | null = null;

  constructor(context: DispatchContext, request: ParsedRequest, client: Client, options: FlightOptions) {
    const { clock, deadlines } = context;
    this.#context = context;
    this.#request = request;
    this.#client = client;
    this.#options = options;
    this.tenant = options.tenant;
    this.#ledger = new Ledger(request, clock, options);
    this.#totalAt = this.#ledger.receivedAt + deadlines.totalMs;
    this.deadlineAt = this.#totalAt;
    this.#created = Math.floor(this.record.startedAt / 1000);
    // Harmless for greedy requests; for sampled ones it is what makes them resumable.
    this.#seed = request.hasSeed ? null : context.newSeed();
    this.#filter = new EventFilter();
    this.#holdings = new Holdings(clock, context.held);
    this.#ticket = new HeldTicket(clock);
  }

  get record(): RequestRecord {
    return this.#ledger.record;
  }

  start(): void {
    this.#client.onClose(() => this.#gone());
    this.#client.onDrain(() => this.#drained());
    this.#context.watchman.watch(this);
    this.#context.admission.enter(this);
  }

  admitted(): void {
    this.record.queuedMs = this.#ledger.elapsedMs;
    this.#try();
  }

  refused(error: SluiceError): void {
    this.#refused = true;
    this.#finish('rejected', error);
  }

  /** The server stops before the request is over. */
  abandon(): void {
    this.#finish('failed', new SluiceError('unavailable', 'the router is shutting down'));
  }

  overdue(): void {
    const stage = this.#stage;
    if (stage === 'ended') return;
    if (this.#context.clock.now() >= this.#totalAt || stage === 'queue' || stage === 'total') {
      return this.#finish(
        'failed',
        new SluiceError('deadline_exceeded', `the request took longer than ${this.#context.deadlines.totalMs} ms`),
      );
    }
    const names = { prefill: 'prefill', firstToken: 'the first token', idle: 'the next token' };
    const late = new SluiceError('deadline_exceeded', `${names[stage]} did not come within its deadline`);
    this.#failed(stage === 'prefill' ? this.#choice?.prefill : this.#choice?.decode, late, true);
  }

  #enter(stage: Stage, ms: number): void {
    this.#stage = stage;
    this.deadlineAt = Math.min(this.#totalAt, this.#context.clock.now() + ms);
  }

  #try(): void {
    const { chooser, clock } = this.#context;
    const generated = this.#filter.tokenIds.length;
    const { salt, probe } = this.#options;
    const group = generated > 0 ? (this.#choice?.group ?? null) : null;
    const question = { request: this.#request, salt, generated, excluded: this.#excluded, group, pairOnly: probe };
    const choice = chooser.choose(question, clock.now());
    if (!choice && this.#filter.finishReason !== null) return this.#complete();
    if (!choice)
      return this.#finish(
        'failed',
        this.#lastError ?? new SluiceError('unavailable', 'no instance can take the request now', { retryAfterSeconds: 1 }),
      );
    this.#choice = choice;
    this.#ledger.placed(choice.decision, choice.prompt.tokens, generated);
    this.#reserve(choice);
    this.#expect(choice);
    if (choice.prefill) this.#prefill(choice.prefill);
    else this.#decode(choice.decode, null);
  }

  /** Tells the directory what the chosen instances will soon hold beside what they have. */
  #expect({ prefill, decode, prompt, decision }: Choice): void {
    const { directory } = this.#context;
    const { cachedBlocks, pulledBlocks } = decision.chosen;
    const expect = (instance: Instance, held: number) => {
      if (held < prompt.keys.length) directory.expect(instance.id, prompt.keys.subarray(held), EXPECT_MS);
    };
    if (prefill) expect(prefill, cachedBlocks);
    expect(decode, prefill ? Math.max(0, prompt.keys.length - pulledBlocks) : cachedBlocks);
  }

  #reserve({ prefill, decode, prompt, decision, group }: Choice): void {
    const cached = decision.chosen.cachedBlocks * group.info.identity.blockTokens;
    const uncached = Math.max(0, prompt.tokens - cached);
    if (prefill) this.#holdings.hold(prefill, { prefillTokens: uncached, contextTokens: 0 });
    this.#holdings.hold(decode, { prefillTokens: prefill ? 0 : uncached, contextTokens: prompt.tokens + this.#filter.tokenIds.length });
  }

  #headFields(instance: Instance, deadlineMs: number) {
    const { kind, body } = this.#request;
    const path = kind === 'chat' ? '/v1/chat/completions' : '/v1/completions';
    const { id, salt } = this.#options;
    return {
      host: instance.host,
      path,
      id,
      bytes: body.length,
      created: this.#created,
      salt,
      seed: this.#seed,
      deadlineMs: Math.min(deadlineMs, this.#totalAt - this.#context.clock.now()),
    };
  }

  #open(instance: Instance, head: string, sink: ResponseSink): void {
    this.#context.held.legs += 1;
    this.#leg = instance.pool.request(head, this.#request.body, sink);
  }

  #closeLeg(abort: boolean): void {
    if (!this.#leg) return;
    this.#context.held.legs -= 1;
    if (abort) this.#leg.abort();
    this.#leg = null;
  }

  #prefill(instance: Instance): void {
    const { deadlines } = this.#context;
    this.#enter('prefill', deadlines.prefillMs);
    this.#ledger.legBegan();
    const head = prefillHead({ ...this.#headFields(instance, deadlines.prefillMs), resumed: this.#filter.tokenIds });
    this.#open(
      instance,
      head,
      new PrefillLeg({
        done: (ticket, report) => {
          this.#closeLeg(false);
          this.#holdings.letGo(instance);
          instance.breaker.succeeded();
          this.#ledger.prefilled(report);
          this.#ticket.hold(ticket, instance);
          if (this.#choice) this.#decode(this.#choice.decode, ticket);
        },
        rejected: (answer) => {
          this.#closeLeg(false);
          this.#answered(instance, answer.head, answer.body);
        },
        failed: (message) => this.#failed(instance, new SluiceError('engine_failed', `prefill failed: ${message}`), true),
      }),
    );
  }

  #decode(instance: Instance, ticket: HandOffTicket | null): void {
    const { deadlines } = this.#context;
    this.#enter('firstToken', deadlines.firstTokenMs);
    this.#ledger.legBegan();
    this.#head = null;
    this.#pieces = [];
    this.#bytes = 0;
    const report = this.#ledger.prefillReport;
    const fields = {
      ...this.#headFields(instance, deadlines.firstTokenMs),
      stream: this.#request.stream,
      ticket,
      pullMs: deadlines.pullMs,
      resumed: this.#filter.tokenIds,
      cachedTokens: report ? reusedTokens(report) : null,
    };
    this.#open(instance, decodeHead(fields), this);
  }

  head(head: ResponseHead): void {
    this.#head = head;
    if (head.status !== 200) return;
    const { decode } = this.#choice as Choice;
    this.#enter('idle', this.#context.deadlines.idleMs);
    const report = head.report === null ? null : parseReport(head.report);
    this.#ledger.firstByte(report);
    // The first token is there, so the pull is over. One that failed, or was not needed, was not acknowledged: its lease would wait.
    const handOff = report?.handOff ?? null;
    if (handOff === null || handOff.failed !== null) this.#ticket.release();
    else this.#ticket.taken();
    this.#holdings.prefilled(decode);
    if (this.#request.stream && !this.#client.started) this.#client.begin();
  }

  data(piece: Buffer): void {
    if (this.#head?.status === 200 && this.#request.stream) {
      const events = this.#filter.take(piece);
      if (events) this.#pieces.push(events);
      return;
    }
    this.#bytes += piece.length;
    if (this.#bytes <= MAX_ANSWER_BYTES) this.#pieces.push(Buffer.from(piece));
  }

  flush(): void {
    if (this.#head?.status !== 200 || !this.#request.stream) return;
    const now = this.#context.clock.now();
    const [first, ...more] = this.#pieces;
    if (first) {
      this.#pieces = [];
      this.#ledger.spoke(now);
      this.deadlineAt = Math.min(this.#totalAt, now + this.#context.deadlines.idleMs);
      if (!this.#client.write(more.length === 0 ? first : Buffer.concat([first, ...more]))) this.#pause();
    }
    if (this.#filter.errorEvent !== null)
      this.#failed(this.#choice?.decode, new SluiceError('engine_failed', 'the engine reported an error in the stream'), true);
  }

  end(): void {
    this.#closeLeg(false);
    const { decode } = this.#choice as Choice;
    const head = this.#head as ResponseHead;
    if (head.status !== 200 || !this.#request.stream) {
      if (this.#bytes > MAX_ANSWER_BYTES)
        return this.#finish('failed', new SluiceError('internal', `the answer is larger than ${MAX_ANSWER_BYTES} bytes`));
      return this.#answered(decode, head, this.#pieces.length === 1 && this.#pieces[0] ? this.#pieces[0] : Buffer.concat(this.#pieces));
    }
    if (!this.#filter.done) return this.#failed(decode, new SluiceError('engine_failed', 'the stream ended too early'), false);
    decode.breaker.succeeded();
    this.#client.end();
    this.#finish('ok', null);
  }

  fail(failure: UpstreamFailure): void {
    const what =
      failure.kind === 'connect'
        ? 'the instance cannot be reached'
        : failure.kind === 'overload'
          ? failure.message
          : 'the connection to the instance broke';
    this.#failed(this.#choice?.decode, new SluiceError('engine_failed', what), false);
  }

  /** A complete answer, good or not. What is the client's fault is handed on; what is the instance's is tried elsewhere. */
  #answered(instance: Instance, head: ResponseHead, body: Buffer): void {
    const contentType = head.contentType ?? 'application/json';
    if (head.status === 200) {
      instance.breaker.succeeded();
      Object.assign(this.record, readAnswer(body));
      this.#client.answer(200, contentType, body);
      return this.#finish('ok', null);
    }
    if (head.status < 500 && head.status !== 429 && !this.#client.started) {
      this.record.status = head.status;
      this.record.error = messageOf(body);
      this.#client.answer(head.status, contentType, body, head.retryAfter);
      return this.#finish('refused', null);
    }
    this.#failed(instance, errorOf(head, body), false, isCrowded(head.status));
  }

  /** An attempt is lost with `culprit`; the next one goes elsewhere, while there is one. */
  #failed(culprit: Instance | null | undefined, error: SluiceError, abort: boolean, innocent = false): void {
    if (this.#stage === 'ended') return;
    this.#closeLeg(abort);
    this.#lastError = error;
    this.#ledger.failed(error.message);
    this.#holdings.letAllGo();
    if (culprit) {
      this.#excluded.add(culprit);
      if (!innocent) culprit.breaker.failed(this.#context.clock.now());
    }
    this.#ticket.release();
    if (!this.#client.started) return this.#retries++ < MAX_RETRIES ? this.#try() : this.#finish('failed', error);
    const spoken = this.#filter.finishReason !== null;
    if (spoken && (!this.#request.includeUsage || this.#filter.usage)) return this.#complete();
    this.#filter.restart();
    this.#pieces = [];
    const resumable = this.record.resumes < MAX_RESUMES && this.#filter.tokenIds.length <= MAX_RESUMED_TOKENS;
    if (!resumable) return spoken ? this.#complete() : this.#finish('failed', error);
    this.record.resumes += 1;
    this.#try();
  }

  /** All tokens went out; only the end mark was lost with the instance. */
  #complete(): void {
    if (!this.#filter.done) this.#client.write(DONE_EVENT);
    this.#client.end();
    this.#finish('ok', null);
  }

  #pause(): void {
    this.#paused = true;
    this.#leg?.pause();
    // The client reads slowly: that is not the engine's silence.
    this.deadlineAt = this.#totalAt;
  }

  #drained(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#leg?.resume();
    if (this.#stage === 'idle') this.#enter('idle', this.#context.deadlines.idleMs);
  }

  #gone(): void {
    this.#finish('cancelled', new SluiceError('client_closed', 'the client went away'));
  }

  #finish(outcome: RequestOutcome, error: SluiceError | null): void {
    if (this.#stage === 'ended') return;
    this.#stage = 'ended';
    this.#closeLeg(true);
    this.#ticket.release();
    this.#holdings.letAllGo();
    const { admission, watchman, onEnd } = this.#context;
    watchman.forget(this);
    if (!this.#refused) admission.leave(this);
    const final = error && this.#client.started && outcome === 'failed' ? interrupted(error) : error;
    this.#ledger.conclude(outcome, final, this.#filter);
    if (outcome === 'ok' && this.#choice) this.#ledger.credit(this.#choice);
    if (final && outcome !== 'cancelled') this.#client.fail(final);
    onEnd(this);
  }
}
