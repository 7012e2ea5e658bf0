/** Engines of ours (docs/engine-protocol.md): all that disaggregation needs is in headers, the body goes byte for byte. */
import type { HandOffTicket, PromptReport } from '../../../engines/index.ts';
import type { Instance } from '../../instances/instance.ts';
import type { LegReport } from '../../record/index.ts';
import type { Leg } from '../../traces/index.ts';
import type { ResponseHead } from '../../upstream/index.ts';
import { readAnswer } from '../answer.ts';
import type { Choice } from '../choose.ts';
import { EventFilter } from '../events.ts';
import { decodeHead, prefillHead, sessionHead } from '../heads.ts';
import { parseReport, reusedTokens } from '../reports.ts';
import { HeldTicket } from '../ticket.ts';
import type { Message, MoveSpeech, NoHandOff, PrefillAnswer, SessionVerb, Speech, Subject, WholeAnswer } from './speech.ts';

/** Their ids go in one header of at most 256 KiB. */
const MAX_RESUMED_TOKENS = 30_000;

export class SluiceSpeech implements Speech, MoveSpeech {
  readonly dialect = 'sluice';
  readonly undivided = false;
  readonly headSpeaks = true;
  readonly concurrent = false;
  readonly events = new EventFilter();
  readonly #subject: Subject;
  readonly #ticket: HeldTicket;
  #ticketInHand: HandOffTicket | null = null;
  #prefillReport: PromptReport | null = null;
  /** What the client's usage calls cached, however often its stream moves; null until its first token. */
  #cachedTokens: number | null = null;
  #generation = 0;

  constructor(subject: Subject) {
    this.#subject = subject;
    this.#ticket = new HeldTicket(subject.clock);
  }

  get moving(): MoveSpeech | null {
    return this.#subject.request.stream ? this : null;
  }

  get session(): string {
    return this.#subject.session;
  }

  get tokenIds(): readonly number[] {
    return this.events.tokenIds;
  }

  nextGeneration(): number {
    this.#generation += 1;
    return this.#generation;
  }

  get salt(): string {
    return this.#subject.salt;
  }

  get spared(): number {
    return this.events.tokens;
  }

  prefill(instance: Instance, deadlineMs: number): Message {
    const head = prefillHead({ ...this.#fields(instance, deadlineMs, 'prefill'), resumed: this.events.tokenIds });
    return { head, body: this.#subject.request.body };
  }

  prefilled(from: Instance, { body }: PrefillAnswer): LegReport | NoHandOff {
    const answer = readHandOff(body);
    if (answer === null) return { why: 'its answer is no hand-off', innocent: false };
    this.#ticket.hold(answer.ticket, from);
    this.#ticketInHand = answer.ticket;
    this.#prefillReport = answer.report;
    return answer.report;
  }

  decode({ decode }: Choice, deadlineMs: number): Message {
    const { request } = this.#subject;
    const report = this.#prefillReport;
    const fields = {
      ...this.#fields(decode, deadlineMs, 'decode'),
      stream: request.stream,
      ticket: this.#ticketInHand,
      resumed: this.events.tokenIds,
      cachedTokens: report ? reusedTokens(report) : null,
      session: request.stream ? `${this.session}/${this.nextGeneration()}` : null,
      hold: false,
    };
    return { head: decodeHead(fields), body: request.body };
  }

  hold(target: Instance, generation: number, deadlineMs: number): Message {
    const { request } = this.#subject;
    const fields = {
      ...this.#fields(target, deadlineMs, 'decode'),
      stream: true,
      ticket: null,
      resumed: this.events.tokenIds,
      cachedTokens: this.#cachedTokens,
      session: `${this.session}/${generation}`,
      hold: true,
    };
    return { head: decodeHead(fields), body: request.body };
  }

  command(verb: SessionVerb, instance: Instance, fields: { readonly generation: number } & Readonly<Record<string, unknown>>): Message {
    const body = Buffer.from(JSON.stringify({ session: this.session, ...fields }));
    return { head: sessionHead(instance.requests.host, verb, body.length), body };
  }

  firstTokenMs(): number {
    return this.#subject.deadlines.firstTokenMs;
  }

  /** Blocks that come late are verified by their names, and recomputed. */
  acceptMs(): number {
    return Number.POSITIVE_INFINITY;
  }

  spoken(head: ResponseHead): LegReport | null {
    const report = head.report === null ? null : parseReport(head.report);
    // The pull is over. One that failed, or was not needed, was not acknowledged: its lease would wait.
    const handOff = report?.handOff ?? null;
    const reused = this.#prefillReport ?? report;
    if (reused !== null) this.#cachedTokens ??= reusedTokens(reused);
    if (handOff === null || handOff.failed !== null) this.#ticket.release();
    else this.#ticket.taken();
    return report;
  }

  decoded(): null {
    return null;
  }

  dropHandOff(): void {
    this.#ticket.release();
    this.#ticketInHand = null;
    this.#prefillReport = null;
  }

  whole(body: Buffer): WholeAnswer {
    return { body, ...readAnswer(body) };
  }

  misread(): false {
    return false;
  }

  refusal(head: ResponseHead, body: Buffer): { contentType: string; body: Buffer } {
    return { contentType: head.contentType ?? 'application/json', body };
  }

  /** A pull that fails is the engine's own affair: it recomputes. */
  suspect(): 'decode' {
    return 'decode';
  }

  whyNotResumed(): string | null {
    const { tokens } = this.events;
    return tokens <= MAX_RESUMED_TOKENS ? null : `more than ${MAX_RESUMED_TOKENS} tokens went out`;
  }

  #fields(instance: Instance, deadlineMs: number, leg: Leg) {
    const { request, id, trace, salt, created, seed, deadlines } = this.#subject;
    const { host } = instance.requests;
    const { pullMs } = deadlines;
    return { host, kind: request.kind, id, trace: trace(leg), bytes: request.body.length, created, salt, seed, deadlineMs, pullMs };
  }
}

function readHandOff(body: Buffer): { ticket: HandOffTicket; report: PromptReport } | null {
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
