/**
 * One request on its way: admitted, placed, prefilled, decoded, streamed; and when something on the way fails, placed again.
 *
 * Invariants
 * - A flight ends once, in `#finish`; from then on it holds no reservation, no connection, no lease and no place in the queue.
 * - Before the first byte a failed attempt is repeated elsewhere (MAX_RETRIES); after it the stream is taken up by another instance
 *   from the tokens that the client already has (MAX_RESUMES). Both count down, so a flight cannot go round for ever.
 * - Every stage has a deadline.
 */
import { SluiceError } from '../../shared/index.ts';
import type { Applicant } from '../admission/admission.ts';
import type { ParsedRequest } from '../edge/index.ts';
import type { Group } from '../instances/group.ts';
import type { Instance } from '../instances/instance.ts';
import type { LegReport, RequestOutcome, RequestRecord } from '../record/index.ts';
import type { Leg, ResponseHead, ResponseSink } from '../upstream/index.ts';
import type { Choice } from './choose.ts';
import type { Client } from './client.ts';
import type { DispatchContext } from './context.ts';
import type { Stage, Watched } from './deadlines.ts';
import { DecodeLeg } from './decode-leg.ts';
import { type Message, type PrefillAnswer, type Speech, type StreamStop, type Subject, speechOf } from './dialects/index.ts';
import { Holdings } from './holdings.ts';
import { Ledger } from './ledger.ts';
import { PrefillLeg } from './prefill-leg.ts';
import { errorOf, interrupted, isCrowded, messageOf } from './reports.ts';

const MAX_RETRIES = 3;
const MAX_RESUMES = 3;
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

/** Why an attempt is lost. */
interface Fault {
  /** Left out of the attempts to come. */
  readonly culprit: Instance | null;
  readonly error: SluiceError;
  /** No fault of the culprit: it has no room, or ends on purpose. */
  readonly innocent?: boolean;
}

export class Flight implements Applicant, Watched {
  readonly tenant: string;
  deadlineAt: number;
  place = -1;
  readonly #context: DispatchContext;
  readonly #request: ParsedRequest;
  readonly #client: Client;
  readonly #options: FlightOptions;
  readonly #ledger: Ledger;
  readonly #totalAt: number;
  readonly #subject: Subject;
  readonly #excluded = new Set<Instance>();
  readonly #holdings: Holdings;
  #speech: Speech | null = null;
  #stage: Stage | 'queue' | 'ended' = 'queue';
  #choice: Choice | null = null;
  #leg: Leg | null = null;
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
    const { id, salt } = options;
    // A seed is harmless for greedy requests; for sampled ones it is what makes them resumable.
    const seed = request.hasSeed ? null : context.newSeed();
    this.#subject = { request, id, salt, created: Math.floor(this.record.startedAt / 1000), seed, deadlines, clock };
    this.#holdings = new Holdings(clock, context.held);
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
    const error = new SluiceError('deadline_exceeded', `${names[stage]} did not come within its deadline`);
    if (stage === 'prefill') this.#failed({ culprit: this.#choice?.prefill ?? null, error });
    else this.#decodeFailed(error, null);
  }

  #enter(stage: Stage, ms: number): void {
    this.#stage = stage;
    this.deadlineAt = Math.min(this.#totalAt, this.#context.clock.now() + ms);
  }

  /** Kept while the groups asked are of one dialect; once a token went out, only one group is asked. */
  #speechFor(group: Group): Speech {
    const { dialect } = group.info;
    if (this.#speech?.dialect !== dialect) this.#speech = speechOf(dialect, this.#subject);
    return this.#speech;
  }

  #try(): void {
    const { chooser, clock } = this.#context;
    const group = this.#client.started ? (this.#choice?.group ?? null) : null;
    const speechFor = (each: Group) => this.#speechFor(each);
    const question = { request: this.#request, speechFor, excluded: this.#excluded, group, probe: this.#options.probe };
    const choice = chooser.choose(question, clock.now());
    if (!choice && this.#spoken) return this.#complete();
    if (!choice)
      return this.#finish(
        'failed',
        this.#lastError ?? new SluiceError('unavailable', 'no instance can take the request now', { retryAfterSeconds: 1 }),
      );
    this.#choice = choice;
    const speech = this.#speechFor(choice.group);
    this.#ledger.placed(choice.decision, choice.prompt.tokens, speech.events.tokens);
    this.#reserve(choice, speech);
    this.#expect(choice);
    if (choice.prefill) this.#prefill(choice.prefill, speech);
    else this.#decode(choice, speech);
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

  #reserve({ prefill, decode, prompt, decision, group }: Choice, speech: Speech): void {
    const cached = decision.chosen.cachedBlocks * group.info.identity.blockTokens;
    const uncached = Math.max(0, prompt.tokens - cached);
    if (prefill) this.#holdings.hold(prefill, { prefillTokens: uncached, contextTokens: 0 });
    this.#holdings.hold(decode, { prefillTokens: prefill ? 0 : uncached, contextTokens: prompt.tokens + speech.spared });
  }

  #open(instance: Instance, message: Message, sink: ResponseSink): void {
    this.#context.held.legs += 1;
    this.#leg = instance.requests.pool.request(message.head, message.body, sink);
  }

  /** Gives a leg that is not complete up. */
  #closeLeg(): void {
    if (!this.#leg) return;
    this.#context.held.legs -= 1;
    this.#leg.abort();
    this.#leg = null;
  }

  #msLeft(stageMs: number): number {
    return Math.min(stageMs, this.#totalAt - this.#context.clock.now());
  }

  #prefill(instance: Instance, speech: Speech): void {
    const { prefillMs } = this.#context.deadlines;
    this.#enter('prefill', prefillMs);
    this.#ledger.legBegan();
    const failed = (message: string) =>
      this.#failed({ culprit: instance, error: new SluiceError('engine_failed', `prefill failed: ${message}`) });
    const done = (answer: PrefillAnswer) => {
      const report = speech.prefilled(instance, answer);
      if (typeof report === 'string') return failed(report);
      this.#closeLeg();
      this.#holdings.letGo(instance);
      instance.breaker.succeeded();
      this.#ledger.prefilled(report);
      if (this.#choice) this.#decode(this.#choice, speech);
    };
    const rejected = ({ head, body }: { head: ResponseHead; body: Buffer }) => {
      if (speech.suspect(body.toString('utf8')) === 'dead') instance.breaker.broke();
      if (!this.#refusedBy(head, body)) this.#failed({ culprit: instance, error: errorOf(head, body), innocent: isCrowded(head.status) });
    };
    this.#open(
      instance,
      speech.prefill(instance, this.#msLeft(prefillMs)),
      new PrefillLeg({ done, rejected, failed }, this.#context.clock),
    );
  }

  #decode(choice: Choice, speech: Speech): void {
    const ms = speech.firstTokenMs(choice);
    this.#enter('firstToken', ms);
    this.#ledger.legBegan();
    const events = {
      spoke: (report: LegReport | null) => this.#spoke(report),
      events: (bytes: Buffer) => this.#forward(bytes),
      skipped: () => this.#alive(),
      stopped: (stop: StreamStop) => this.#stopped(stop),
      ended: () => this.#streamEnded(),
      answered: (head: ResponseHead, body: Buffer) => this.#answered(head, body),
      lost: (error: SluiceError) =>
        error.code === 'internal' ? this.#finish('failed', error) : this.#failed({ culprit: choice.decode, error }),
    };
    this.#open(choice.decode, speech.decode(choice, this.#msLeft(ms)), new DecodeLeg(speech, this.#request.stream, events));
  }

  #spoke(report: LegReport | null): void {
    this.#enter('idle', this.#context.deadlines.idleMs);
    this.#ledger.firstByte(report);
    if (this.#choice) this.#holdings.prefilled(this.#choice.decode);
    if (this.#request.stream && !this.#client.started) this.#client.begin();
  }

  #forward(bytes: Buffer): void {
    this.#ledger.spoke(this.#alive());
    if (!this.#client.write(bytes)) this.#pause();
  }

  /** The instance sends something. @returns the time */
  #alive(): number {
    const now = this.#context.clock.now();
    this.deadlineAt = Math.min(this.#totalAt, now + this.#context.deadlines.idleMs);
    return now;
  }

  #stopped({ kind, text }: StreamStop): void {
    if (kind === 'diverged') return this.#spoken ? this.#complete() : this.#finish('failed', new SluiceError('engine_failed', text));
    if (kind === 'aborted') {
      const error = new SluiceError('engine_failed', 'the engine gave the request up');
      return this.#failed({ culprit: this.#choice?.decode ?? null, error, innocent: true });
    }
    this.#decodeFailed(new SluiceError('engine_failed', 'the engine reported an error in the stream'), text);
  }

  #streamEnded(): void {
    const decode = this.#choice?.decode ?? null;
    if (!this.#speech?.events.done)
      return this.#failed({ culprit: decode, error: new SluiceError('engine_failed', 'the stream ended too early') });
    decode?.breaker.succeeded();
    this.#client.end();
    this.#finish('ok', null);
  }

  /** A complete answer of the decode instance, good or not. What is the client's fault is handed on; what is the instance's is tried elsewhere. */
  #answered(head: ResponseHead, body: Buffer): void {
    const decode = this.#choice?.decode ?? null;
    if (head.status !== 200) {
      if (this.#refusedBy(head, body)) return;
      const error = errorOf(head, body);
      if (isCrowded(head.status)) this.#failed({ culprit: decode, error, innocent: true });
      else this.#decodeFailed(error, body.toString('utf8'));
      return;
    }
    const answer = this.#speech?.whole(body) ?? new SluiceError('internal', 'an answer that nobody asked for');
    if (answer instanceof SluiceError) return this.#failed({ culprit: decode, error: answer });
    decode?.breaker.succeeded();
    Object.assign(this.record, { outputTokens: answer.outputTokens, finishReason: answer.finishReason });
    this.#client.answer(200, head.contentType ?? 'application/json', answer.body);
    this.#finish('ok', null);
  }

  /** True when it is the client's fault, and the client was told. */
  #refusedBy(head: ResponseHead, body: Buffer): boolean {
    if (head.status >= 500 || head.status === 429 || this.#client.started || this.#speech === null) return false;
    this.record.status = head.status;
    this.record.error = messageOf(body);
    const refusal = this.#speech.refusal(head, body);
    this.#client.answer(head.status, refusal.contentType, refusal.body, head.retryAfter);
    this.#finish('refused', null);
    return true;
  }

  /** The decode leg failed though the instance could be reached. @param said what the engine said of it */
  #decodeFailed(error: SluiceError, said: string | null): void {
    const { prefill = null, decode = null } = this.#choice ?? {};
    const suspect = this.#speech?.suspect(said);
    if (suspect === 'dead') decode?.breaker.broke();
    this.#failed({ culprit: suspect === 'prefill' ? prefill : decode, error });
  }

  /** An attempt is lost; the next one goes elsewhere, while there is one. */
  #failed({ culprit, error, innocent = false }: Fault): void {
    if (this.#stage === 'ended') return;
    this.#closeLeg();
    this.#lastError = error;
    this.#ledger.failed(error.message);
    this.#holdings.letAllGo();
    if (culprit) {
      this.#excluded.add(culprit);
      if (!innocent) culprit.breaker.failed(this.#context.clock.now());
    }
    this.#speech?.dropHandOff();
    this.#speech?.events.restart();
    if (!this.#client.started) return this.#retries++ < MAX_RETRIES ? this.#try() : this.#finish('failed', error);
    this.#resume(error);
  }

  #resume(error: SluiceError): void {
    const speech = this.#speech as Speech;
    if (this.#spoken && (!this.#request.includeUsage || speech.events.usage)) return this.#complete();
    const why = this.record.resumes < MAX_RESUMES ? speech.whyNotResumed() : `it was resumed ${MAX_RESUMES} times already`;
    if (why !== null) {
      if (this.#spoken) return this.#complete();
      return this.#finish('failed', new SluiceError(error.code, `${error.message}; ${why}`));
    }
    this.record.resumes += 1;
    this.#try();
  }

  /** All tokens went out. */
  get #spoken(): boolean {
    return (this.#speech?.events.finishReason ?? null) !== null;
  }

  /** Only the end mark was lost with the instance. */
  #complete(): void {
    if (!this.#speech?.events.done) this.#client.write(DONE_EVENT);
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
    this.#closeLeg();
    this.#speech?.dropHandOff();
    this.#holdings.letAllGo();
    const { admission, watchman, onEnd } = this.#context;
    watchman.forget(this);
    if (!this.#refused) admission.leave(this);
    const final = error && this.#client.started && outcome === 'failed' ? interrupted(error) : error;
    this.#ledger.conclude(outcome, final, this.#speech);
    if (outcome === 'ok' && this.#choice) this.#ledger.credit(this.#choice);
    if (final && outcome !== 'cancelled') this.#client.fail(final);
    onEnd(this);
  }
}
