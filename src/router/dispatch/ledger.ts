/** Writes a flight's record, and credits the instances with what they did for it. */
import type { Clock, SluiceError } from '../../shared/index.ts';
import type { ParsedRequest } from '../edge/index.ts';
import type { Decision } from '../placement/index.ts';
import type { AttemptRecord, LegReport, RequestOutcome, RequestRecord } from '../record/index.ts';
import type { RequestTrace } from '../traces/index.ts';
import type { Choice } from './choose.ts';
import type { Speech } from './dialects/index.ts';

export interface LedgerOptions {
  readonly id: string;
  readonly model: string;
  readonly trace: RequestTrace | null;
  readonly probe: boolean;
}

/** How an attempt's legs are spoken, and what was said before it. */
interface Spoken {
  readonly concurrent: boolean;
  readonly events: { readonly tokens: number };
}

const TIERS = ['hbm', 'host', 'peer', 'store'] as const;

export class Ledger {
  readonly record: RequestRecord;
  /** Monotonic milliseconds. */
  readonly receivedAt: number;
  readonly #clock: Clock;
  #attempt: AttemptRecord | null = null;
  #legAt = 0;
  #firstAt = 0;
  #lastAt = 0;

  constructor(request: ParsedRequest, clock: Clock, options: LedgerOptions) {
    this.#clock = clock;
    this.receivedAt = clock.now();
    this.record = {
      id: options.id,
      traceId: options.trace?.traceId ?? null,
      span: options.trace?.span ?? null,
      kind: request.kind,
      model: options.model,
      stream: request.stream,
      synthetic: options.probe,
      startedAt: clock.wall(),
      maxTokens: request.maxTokens ?? 0,
      promptTokens: 0,
      queuedMs: 0,
      attempts: [],
      resumes: 0,
      moves: [],
      outcome: null,
      status: 0,
      error: null,
      finishReason: null,
      outputTokens: 0,
      ttftMs: null,
      tpotMs: null,
      totalMs: null,
    };
  }

  get elapsedMs(): number {
    return this.#clock.now() - this.receivedAt;
  }

  placed(decision: Decision, promptTokens: number, speech: Spoken): void {
    this.record.promptTokens = promptTokens;
    const concurrent = speech.concurrent && decision.chosen.prefill !== null;
    const begun = { atMs: this.elapsedMs, decision, concurrent, resumedTokens: speech.events.tokens };
    this.#attempt = { ...begun, prefill: null, decode: null, error: null, lostAtMs: null };
    this.record.attempts.push(this.#attempt);
  }

  legBegan(): void {
    this.#legAt = this.#clock.now();
  }

  prefilled(report: LegReport): void {
    const now = this.#clock.now();
    const spoken = this.#attempt?.decode ?? null;
    // Of legs that are under way at once, all that was before the first token was prefill.
    if (this.#attempt) this.#attempt.prefill = { ms: spoken?.ms ?? now - this.#legAt, report };
    if (this.#attempt && spoken) this.#attempt.decode = { ...spoken, ms: 0 };
    this.#legAt = now;
  }

  firstByte(report: LegReport | null): void {
    const now = this.#clock.now();
    if (this.#attempt) this.#attempt.decode = { ms: now - this.#legAt, report };
    this.#firstAt ||= now;
    // The first byte of a whole answer comes with its last token.
    if (this.record.stream) this.record.ttftMs ??= now - this.receivedAt;
  }

  spoke(now: number): void {
    this.#lastAt = now;
  }

  /** Monotonic milliseconds of the last event for the client. */
  get lastEventAt(): number {
    return this.#lastAt;
  }

  /** Mean time between two tokens so far; null before the second. */
  interTokenMs(tokens: number): number | null {
    return tokens > 1 ? (this.#lastAt - this.#firstAt) / (tokens - 1) : null;
  }

  failed(reason: string): void {
    if (this.#attempt) Object.assign(this.#attempt, { error: reason, lostAtMs: this.elapsedMs });
  }

  conclude(outcome: RequestOutcome, error: SluiceError | null, speech: Speech | null): void {
    const { record } = this;
    record.outcome = outcome;
    record.totalMs = this.elapsedMs;
    const report = speech?.decoded() ?? null;
    if (report !== null) this.#decoded(report);
    if (record.stream && speech !== null) {
      record.outputTokens = speech.events.tokens;
      record.finishReason = speech.events.finishReason;
      if (record.outputTokens > 1) record.tpotMs = (this.#lastAt - this.#firstAt) / (record.outputTokens - 1);
    }
    if (error) {
      record.status = error.status;
      record.error = `${error.code}: ${error.message}`;
    } else if (record.status === 0) record.status = 200;
  }

  #decoded(report: LegReport): void {
    if (this.#attempt?.decode) this.#attempt.decode = { ms: this.#attempt.decode.ms, report };
  }

  /** Into the tables of the instances that served it. */
  credit({ prefill, decode }: Choice): void {
    decode.proven = true;
    if (prefill) prefill.proven = true;
    const { ttftMs, tpotMs, synthetic, moves } = this.record;
    // What was measured of a stream that moved is of no one instance.
    if (synthetic || moves.some(({ pauseMs }) => pauseMs !== null)) return;
    if (ttftMs !== null) decode.ttft.add(ttftMs);
    if (tpotMs !== null) decode.tpot.add(tpotMs);
    for (const [instance, report] of [
      [prefill, this.#attempt?.prefill?.report] as const,
      [decode, this.#attempt?.decode?.report] as const,
    ]) {
      if (!instance || !report?.reused) continue;
      instance.promptTokens += report.promptTokens;
      instance.reusedTokens += report.reused.hbm + report.reused.host + report.reused.store;
      for (const tier of TIERS) instance.reusedByTier[tier] += report.reused[tier];
    }
  }
}
