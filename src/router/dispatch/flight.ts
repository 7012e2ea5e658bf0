/**
 * One request on its way: admitted, placed, prefilled, decoded, streamed; and when something on the way fails, placed again.
 *
 * Invariants
 * - A flight ends once, in `#finish`; from then on it holds no reservation, no connection, no lease and no place in the queue.
 * - Before the first byte a failed attempt is repeated elsewhere (MAX_RETRIES); after it the stream is taken up by another instance
 *   from the tokens that the client already has (MAX_RESUMES). Both count down, so a flight cannot go round for ever.
 * - Every stage has a deadline, and a leg whose instance gives no sign of life is given up before it if there is another way. What is
 *   given up is cancelled first, both legs of it where two are under way: no request is worked on twice.
 */
import { SluiceError } from '../../shared/index.ts';
import type { Applicant } from '../admission/admission.ts';
import type { ParsedRequest } from '../edge/index.ts';
import type { Instance } from '../instances/instance.ts';
import type { LegReport, RequestOutcome, RequestRecord } from '../record/index.ts';
import type { ResponseHead } from '../upstream/index.ts';
import { Booking } from './booking.ts';
import type { Choice } from './choose.ts';
import type { Client } from './client.ts';
import type { DispatchContext } from './context.ts';
import type { Stage, Watched } from './deadlines.ts';
import { DecodeLeg } from './decode-leg.ts';
import type { Message, PrefillAnswer, Speech, StreamStop } from './dialects/index.ts';
import { type Fault, type FlightOptions, subjectOf } from './flightoptions.ts';
import { Ledger } from './ledger.ts';
import { Line } from './line.ts';
import { type MovedStream, Relocation } from './moves/index.ts';
import { LAPSED_TEXT, overdueText, slowAfterMs, tooLongText } from './patience.ts';
import { PrefillLeg } from './prefill-leg.ts';
import { errorOf, interrupted, isCrowded, passRefusal } from './reports.ts';
import { giveUp, overdueFault, type Straits } from './surrender.ts';
import { Vigil } from './vigil.ts';

const MAX_RETRIES = 3;
const MAX_RESUMES = 3;
const DONE_EVENT = Buffer.from('data: [DONE]\n\n');

export class Flight implements Applicant, Watched, MovedStream {
  readonly tenant: string;
  place = -1;
  readonly #context: DispatchContext;
  readonly #request: ParsedRequest;
  readonly #client: Client;
  readonly #ledger: Ledger;
  readonly #vigil: Vigil;
  readonly #line: Line;
  readonly #booking: Booking;
  readonly #relocation: Relocation;
  readonly #straits: Straits;
  #ended = false;
  #retries = 0;
  /** Admission turned it away, so that there is no place to give back. */
  #refused = false;
  #lastError: SluiceError | null = null;

  constructor(context: DispatchContext, request: ParsedRequest, client: Client, options: FlightOptions) {
    const { clock, deadlines } = context;
    this.#context = context;
    this.#request = request;
    this.#client = client;
    this.tenant = options.tenant;
    this.#ledger = new Ledger(request, clock, options);
    this.#vigil = new Vigil(this.#ledger.receivedAt + deadlines.totalMs);
    this.#line = new Line(context.held);
    const subject = subjectOf(context, request, options, this.record);
    this.#booking = new Booking(context, subject, options.probe);
    this.#straits = { vigil: this.#vigil, booking: this.#booking, canLeave: (some) => this.#canLeave(some) };
    this.#relocation = new Relocation({ context, booking: this.#booking, ledger: this.#ledger, stream: this });
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

  /** Where its stream is decoded, from its first token on; null = it is no stream, or not yet. */
  get decodeInstance(): Instance | null {
    return this.#client.started && !this.#ended ? (this.#booking.choice?.decode ?? null) : null;
  }

  /** Where its stream comes from while it moves. */
  get moveSource(): Instance | null {
    return this.#relocation.source;
  }

  lose(why: string): void {
    this.#failed({ culprit: null, error: new SluiceError('unavailable', why), innocent: true });
  }

  /** Moves the stream to another instance, if there is one and it can be moved now. */
  move(why: string): boolean {
    const source = this.decodeInstance;
    if (source === null || this.#vigil.stage !== 'idle' || this.#spoken || this.#line.paused) return false;
    return this.#relocation.begin(source, why);
  }

  admitted(): void {
    this.record.queuedMs = this.#ledger.elapsedMs;
    this.#booking.afterHints(() => {
      if (!this.#ended) this.#try();
    });
  }

  refused(error: SluiceError): void {
    this.#refused = true;
    this.#finish('rejected', error);
  }

  /** The server stops before the request is over. */
  abandon(): void {
    this.#finish('failed', new SluiceError('unavailable', 'the router is shutting down'));
  }

  delayed(ms: number): void {
    this.#vigil.delay(ms);
  }

  look(now: number): void {
    if (this.#ended) return;
    const verdict = this.#vigil.look(now);
    switch (verdict) {
      case null:
        return;
      case 'total':
        return this.#finish('failed', new SluiceError('deadline_exceeded', tooLongText(this.#context.deadlines.totalMs)));
      case 'deadline':
        return this.#vigil.stage === 'prefill' ? this.#failed(overdueFault(this.#booking)) : this.#decodeOverdue();
      case 'lapsed':
        return this.#failed({ culprit: this.#booking.choice?.decode ?? null, error: new SluiceError('engine_failed', LAPSED_TEXT) });
      case 'silent':
      case 'slow':
        return this.#failed(giveUp(verdict, this.#straits, now));
    }
  }

  #decodeOverdue(): void {
    this.#decodeFailed(new SluiceError('deadline_exceeded', overdueText(this.#vigil.stage)), null);
  }

  /** Whether somebody else can do it, and nothing of it gets lost. */
  #canLeave(culprits: readonly Instance[]): boolean {
    const { started } = this.#client;
    if (started && !this.#spoken && this.whyNotResumed() !== null) return false;
    if (!started && this.#retries >= MAX_RETRIES) return false;
    return this.#booking.hasOther(culprits, started);
  }

  #enter(stage: Stage, instance: Instance | null, ms: number): void {
    this.#vigil.enter(stage, instance, this.#context.clock.now(), ms);
  }

  #try(): void {
    const choice = this.#booking.take(this.#client.started);
    if (!choice && this.#spoken) return this.#complete();
    if (!choice) return this.#finish('failed', this.#lastError ?? this.#booking.nobody);
    const speech = this.#booking.reserve(choice);
    this.#ledger.placed(choice.decision, choice.prompt.tokens, speech);
    this.#context.chains.set(this.record, choice.prompt.keys);
    if (choice.prefill) this.#prefill(choice, choice.prefill, speech);
    else this.#decode(choice, speech);
  }

  #prefill(choice: Choice, instance: Instance, speech: Speech): void {
    const { clock, watchman, deadlines } = this.#context;
    const predictedMs = this.#booking.predictedPrefillMs;
    this.#enter('prefill', instance, deadlines.prefillMs);
    this.#vigil.slowAfter(slowAfterMs(predictedMs, instance.prefillSpread.ratio));
    this.#ledger.legBegan();
    // A decode instance that has spoken has all that it waited for.
    const isOver = () => this.#vigil.stage !== 'prefill';
    const leave = () => {
      this.#line.closePrefill();
      this.#booking.holdings.letGo(instance);
    };
    const fault = (message: string) => new SluiceError('engine_failed', `prefill failed: ${message}`);
    const failed = (message: string, innocent = false) =>
      isOver() ? leave() : this.#failed({ culprit: instance, error: fault(message), innocent });
    const done = (answer: PrefillAnswer) => {
      const report = speech.prefilled(instance, answer);
      if ('why' in report) return failed(report.why, report.innocent);
      leave();
      if (!isOver()) instance.prefillSpread.add(predictedMs, this.#vigil.elapsedMs(clock.now()));
      instance.breaker.succeeded();
      this.#ledger.prefilled(report);
      if (!speech.concurrent) this.#decode(choice, speech);
      else if (!isOver()) this.#enter('firstToken', choice.decode, speech.firstTokenMs(choice));
    };
    const rejected = ({ head, body }: { head: ResponseHead; body: Buffer }) => {
      if (isOver()) return leave();
      if (speech.suspect(body.toString('utf8')) === 'dead') instance.breaker.broke();
      if (!this.#refusedBy(head, body)) this.#failed({ culprit: instance, error: errorOf(head, body), innocent: isCrowded(head.status) });
    };
    this.#booking.expectBlocks(instance);
    const leg = new PrefillLeg({ done, rejected, failed }, clock, () => watchman.readUntil);
    const message = speech.prefill(instance, this.#vigil.msLeft(clock.now(), deadlines.prefillMs));
    this.#line.openPrefill(instance, message, leg);
    if (!speech.concurrent) return;
    this.#vigil.alsoOn(choice.decode);
    this.#openDecode(choice, speech, deadlines.prefillMs);
  }

  #decode(choice: Choice, speech: Speech): void {
    const ms = speech.firstTokenMs(choice);
    this.#enter('firstToken', choice.decode, ms);
    this.#vigil.liveBy(speech.acceptMs());
    this.#ledger.legBegan();
    this.#openDecode(choice, speech, ms);
  }

  #openDecode(choice: Choice, speech: Speech, ms: number): void {
    this.#booking.expectBlocks(choice.decode);
    const message = speech.decode(choice, this.#vigil.msLeft(this.#context.clock.now(), ms));
    this.#line.open(choice.decode, message, this.#decodeLeg(choice, speech));
  }

  /** The target of a move goes on with the stream that the source let go. */
  switchTo(choice: Choice, message: Message): void {
    const speech = this.#booking.speech as Speech;
    this.#line.close();
    speech.events.restart();
    this.#booking.choice = choice;
    this.#enter('firstToken', choice.decode, speech.firstTokenMs(choice));
    this.#line.open(choice.decode, message, this.#decodeLeg(choice, speech));
  }

  #decodeLeg(choice: Choice, speech: Speech): DecodeLeg {
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
    return new DecodeLeg(speech, this.#request.stream, events);
  }

  #spoke(report: LegReport | null): void {
    this.#enter('idle', this.#booking.choice?.decode ?? null, this.#context.deadlines.idleMs);
    const now = this.#alive();
    if (this.#relocation.spoke(now)) return;
    this.#ledger.firstByte(report);
    if (this.#booking.choice) this.#booking.holdings.prefilled(this.#booking.choice.decode);
    if (this.#request.stream && !this.#client.started) this.#client.begin();
  }

  #forward(bytes: Buffer): void {
    this.#ledger.spoke(this.#alive());
    if (!this.#client.write(bytes)) this.#pause();
  }

  /** The instance sends something. @returns the time */
  #alive(): number {
    const now = this.#context.clock.now();
    this.#vigil.extend(now, this.#context.deadlines.idleMs);
    return now;
  }

  #stopped({ kind, text }: StreamStop): void {
    if (kind === 'diverged') return this.#spoken ? this.#complete() : this.#finish('failed', new SluiceError('engine_failed', text));
    if (kind === 'aborted') {
      const error = new SluiceError('engine_failed', 'the engine gave the request up');
      return this.#failed({ culprit: this.#booking.choice?.decode ?? null, error, innocent: true });
    }
    this.#decodeFailed(new SluiceError('engine_failed', 'the engine reported an error in the stream'), text);
  }

  #streamEnded(): void {
    const decode = this.#booking.choice?.decode ?? null;
    if (this.#booking.speech?.events.moved && this.#relocation.stopped()) return;
    if (!this.#booking.speech?.events.done)
      return this.#failed({ culprit: decode, error: new SluiceError('engine_failed', 'the stream ended too early') });
    decode?.breaker.succeeded();
    this.#client.end();
    this.#finish('ok', null);
  }

  /** A complete answer of the decode instance, good or not. What is the client's fault is handed on; what is the instance's is tried elsewhere. */
  #answered(head: ResponseHead, body: Buffer): void {
    const decode = this.#booking.choice?.decode ?? null;
    if (head.status !== 200) {
      if (this.#refusedBy(head, body)) return;
      const error = errorOf(head, body);
      if (isCrowded(head.status)) this.#failed({ culprit: decode, error, innocent: true });
      else this.#decodeFailed(error, body.toString('utf8'));
      return;
    }
    const answer = this.#booking.speech?.whole(body) ?? new SluiceError('internal', 'an answer that nobody asked for');
    if (answer instanceof SluiceError) return this.#failed({ culprit: decode, error: answer });
    decode?.breaker.succeeded();
    Object.assign(this.record, { outputTokens: answer.outputTokens, finishReason: answer.finishReason });
    this.#client.answer(200, head.contentType ?? 'application/json', answer.body);
    this.#finish('ok', null);
  }

  /** True when it is the client's fault, and the client was told. */
  #refusedBy(head: ResponseHead, body: Buffer): boolean {
    if (head.status >= 500 || head.status === 429 || this.#client.started || this.#booking.speech?.misread(body) !== false) return false;
    passRefusal(this.#client, this.record, { head, ...this.#booking.speech.refusal(head, body), said: body });
    this.#finish('refused', null);
    return true;
  }

  /** The decode leg failed though the instance could be reached. @param said what the engine said of it */
  #decodeFailed(error: SluiceError, said: string | null): void {
    const { prefill = null, decode = null } = this.#booking.choice ?? {};
    const suspect = this.#booking.speech?.suspect(said);
    if (suspect === 'dead') decode?.breaker.broke();
    this.#failed({ culprit: suspect === 'prefill' ? prefill : decode, error });
  }

  /** An attempt is lost; the next one goes elsewhere, while there is one. */
  #failed(fault: Fault | null): void {
    if (this.#ended || fault === null) return;
    const { culprit, partner, error, innocent = false } = fault;
    this.#relocation.interrupted();
    this.#line.close();
    this.#lastError = error;
    this.#ledger.failed(error.message);
    this.#booking.holdings.letAllGo();
    if (culprit) {
      this.#booking.leaveOut(culprit);
      if (!innocent) culprit.breaker.failed(this.#context.clock.now());
    }
    if (partner) this.#booking.leaveOut(partner);
    this.#booking.speech?.dropHandOff();
    this.#booking.speech?.events.restart();
    if (!this.#client.started) return this.#retries++ < MAX_RETRIES ? this.#try() : this.#finish('failed', error);
    this.#resume(error);
  }

  #resume(error: SluiceError): void {
    const speech = this.#booking.speech as Speech;
    if (this.#spoken && (!this.#request.includeUsage || speech.events.usage)) return this.#complete();
    const why = this.whyNotResumed();
    if (why !== null) {
      if (this.#spoken) return this.#complete();
      return this.#finish('failed', new SluiceError(error.code, `${error.message}; ${why}`));
    }
    this.record.resumes += 1;
    this.#try();
  }

  whyNotResumed(): string | null {
    if (this.record.resumes >= MAX_RESUMES) return `it was resumed ${MAX_RESUMES} times already`;
    return this.#booking.speech?.whyNotResumed() ?? null;
  }

  /** All tokens went out. */
  get #spoken(): boolean {
    return (this.#booking.speech?.events.finishReason ?? null) !== null;
  }

  /** Only the end mark was lost with the instance. */
  #complete(): void {
    if (!this.#booking.speech?.events.done) this.#client.write(DONE_EVENT);
    this.#client.end();
    this.#finish('ok', null);
  }

  /** The client reads slowly: that is not the engine's silence. */
  #pause(): void {
    this.#line.pause();
    this.#vigil.suspend();
  }

  #drained(): void {
    if (this.#line.resume() && this.#vigil.stage === 'idle')
      this.#enter('idle', this.#booking.choice?.decode ?? null, this.#context.deadlines.idleMs);
  }

  #gone(): void {
    this.#finish('cancelled', new SluiceError('client_closed', 'the client went away'));
  }

  #finish(outcome: RequestOutcome, error: SluiceError | null): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#relocation.ended();
    this.#line.close();
    this.#booking.speech?.dropHandOff();
    this.#booking.holdings.letAllGo();
    const { admission, watchman, onEnd } = this.#context;
    watchman.forget(this);
    if (!this.#refused) admission.leave(this);
    const final = error && this.#client.started && outcome === 'failed' ? interrupted(error) : error;
    this.#ledger.conclude(outcome, final, this.#booking.speech);
    if (outcome === 'ok' && this.#booking.choice) this.#ledger.credit(this.#booking.choice);
    if (final && outcome !== 'cancelled') this.#client.fail(final);
    onEnd(this);
  }
}
