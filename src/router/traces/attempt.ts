/** The spans of one attempt: placement, the legs, and the hand-off within the decode leg. Pure. */
import type { Attributes, Span, SpanEvent } from '../../telemetry/traces/index.ts';
import type { AttemptRecord, LegReport, RequestRecord } from '../record/index.ts';
import { attemptSpan, spanId } from './origin.ts';
import { double, type Frame } from './words.ts';

export interface NumberedAttempt {
  readonly attempt: AttemptRecord;
  /** From 0. */
  readonly index: number;
}

/** When each part began and ended, milliseconds after the request came. */
interface Times {
  readonly lookedFromMs: number;
  readonly placedMs: number;
  readonly endMs: number;
}

interface Parted {
  readonly kind: 'placement' | 'prefill' | 'handOff' | 'decode';
  readonly fromMs: number;
  readonly toMs: number;
  readonly attributes: Attributes;
  readonly events?: readonly SpanEvent[];
  readonly error: string | null;
}

const NAMES = { placement: 'placement', prefill: 'prefill', handOff: 'hand-off', decode: 'decode' } as const;

export function attemptSpans(frame: Frame, record: RequestRecord, numbered: NumberedAttempt): Span[] {
  const { attempt, index } = numbered;
  const times = timesOf(frame, record, numbered);
  const error = attempt.error ?? (record.outcome === 'failed' && index === record.attempts.length - 1 ? record.error : null);
  const prefilling = attempt.decision.chosen.prefill !== null;
  const answered = attempt.prefill !== null || attempt.decode !== null;
  const decoding = !prefilling || answered || attempt.concurrent;
  const parts = [
    placementPart(attempt, times),
    ...(prefilling ? [prefillPart(attempt, times, answered ? null : error)] : []),
    ...(decoding ? decodeParts({ frame, record, attempt }, times, error) : []),
  ];
  return parts.map((part) => spanOf(frame, index, part));
}

/** An attempt is placed when the one before is lost, or when the request is admitted. */
function timesOf({ endMs }: Frame, { attempts, queuedMs }: RequestRecord, { attempt, index }: NumberedAttempt): Times {
  const before = index === 0 ? queuedMs : (attempts[index - 1]?.lostAtMs ?? attempt.atMs);
  return { lookedFromMs: before, placedMs: attempt.atMs, endMs: attempt.lostAtMs ?? endMs };
}

function placementPart({ decision }: AttemptRecord, { lookedFromMs, placedMs }: Times): Parted {
  const { chosen, considered, why } = decision;
  const { terms } = chosen;
  const attributes = {
    'sluice.prefill': chosen.prefill,
    'sluice.decode': chosen.decode,
    'sluice.reason': why,
    'sluice.considered': considered,
    'sluice.cached_blocks': chosen.cachedBlocks,
    'sluice.stored_blocks': chosen.storedBlocks,
    'sluice.pulled_blocks': chosen.pulledBlocks,
    'sluice.predicted.ttft_ms': double(chosen.ttftMs),
    'sluice.predicted.total_ms': double(chosen.totalMs),
    'sluice.predicted.queue_ms': double(terms.queueMs),
    'sluice.predicted.onboard_ms': double(terms.onboardMs),
    'sluice.predicted.prefill_ms': double(terms.prefillMs),
    'sluice.predicted.transfer_ms': double(terms.transferMs),
    'sluice.predicted.admit_ms': double(terms.admitMs),
    'sluice.predicted.tail_ms': double(terms.tailMs),
    'sluice.predicted.stall_ms': double(terms.stallMs),
    'sluice.predicted.decode_ms': double(terms.decodeMs),
  };
  return { kind: 'placement', fromMs: lookedFromMs, toMs: placedMs, attributes, error: null };
}

function prefillPart({ decision, prefill }: AttemptRecord, { placedMs, endMs }: Times, error: string | null): Parted {
  const { prefill: instance, terms } = decision.chosen;
  const attributes = {
    'sluice.instance': instance,
    'sluice.predicted_ms': double(terms.queueMs + terms.onboardMs + terms.prefillMs),
    ...reportAttributes(prefill?.report ?? null),
  };
  return { kind: 'prefill', fromMs: placedMs, toMs: prefill === null ? endMs : placedMs + prefill.ms, attributes, error };
}

interface DecodeLeg {
  readonly frame: Frame;
  readonly record: RequestRecord;
  readonly attempt: AttemptRecord;
}

function decodeParts({ frame, record, attempt }: DecodeLeg, { placedMs, endMs }: Times, error: string | null): Parted[] {
  const { decision, concurrent, prefill, decode, resumedTokens } = attempt;
  const prefilledMs = placedMs + (prefill?.ms ?? 0);
  const fromMs = concurrent ? placedMs : prefilledMs;
  const report = decode?.report ?? null;
  const attributes = {
    'sluice.instance': decision.chosen.decode,
    'sluice.predicted_ms': double(decision.chosen.terms.decodeMs),
    'sluice.resumed_tokens': resumedTokens,
    ...reportAttributes(report),
    'sluice.hand_off.blocks': report?.handOff?.blocks ?? null,
    'sluice.hand_off.bytes': report?.handOff?.bytes ?? null,
  };
  // The first byte of a whole answer comes with its last token.
  const spoke = record.stream && decode !== null;
  const events = spoke ? [{ name: 'sluice.first_token', at: frame.startedAt + prefilledMs + decode.ms, attributes: {} }] : [];
  return [{ kind: 'decode', fromMs, toMs: endMs, attributes, events, error }, ...handOffPart(fromMs, decision.chosen, report)];
}

/** The decode instance pulls before it does anything else. Without a time of its own, the hand-off is within that of the first token. */
function handOffPart(fromMs: number, chosen: AttemptRecord['decision']['chosen'], report: LegReport | null): Parted[] {
  const handOff = report?.handOff ?? null;
  if (handOff === null || handOff.ms === null) return [];
  const attributes = {
    'sluice.from': chosen.prefill,
    'sluice.to': chosen.decode,
    'sluice.blocks': handOff.blocks,
    'sluice.bytes': handOff.bytes,
    'sluice.predicted_ms': double(chosen.terms.transferMs),
    'sluice.move_ms': double(handOff.moveMs),
  };
  return [{ kind: 'handOff', fromMs, toMs: fromMs + handOff.ms, attributes, error: handOff.failed }];
}

/** Not under `gen_ai.usage`: what adds that up over the spans of a trace would count each token several times. */
function reportAttributes(report: LegReport | null): Attributes {
  if (report === null) return {};
  const { promptTokens, computed, queueMs, prefillMs, reused, onboard } = report;
  return {
    'sluice.prompt_tokens': promptTokens,
    'sluice.computed_tokens': computed,
    'sluice.reused.hbm_tokens': reused?.hbm ?? null,
    'sluice.reused.host_tokens': reused?.host ?? null,
    'sluice.reused.peer_tokens': reused?.peer ?? null,
    'sluice.reused.store_tokens': reused?.store ?? null,
    'sluice.engine.queue_ms': double(queueMs),
    'sluice.engine.prefill_ms': double(prefillMs),
    'sluice.store.bytes': onboard?.bytes ?? null,
    'sluice.store.ms': double(onboard?.ms),
  };
}

function spanOf({ traceId, origin, startedAt, endMs }: Frame, index: number, part: Parted): Span {
  const { kind, fromMs, toMs, attributes, events = [], error } = part;
  const isLeg = kind === 'prefill' || kind === 'decode';
  return {
    traceId,
    id: spanId(origin, attemptSpan(kind, index)),
    parentId: kind === 'handOff' ? spanId(origin, attemptSpan('decode', index)) : origin.id,
    name: NAMES[kind],
    kind: isLeg ? 'client' : 'internal',
    startsAt: startedAt + Math.min(fromMs, endMs),
    // Two clocks: what an engine measured may be longer than what is seen of it here.
    endsAt: startedAt + Math.min(Math.max(fromMs, toMs), endMs),
    attributes: { ...attributes, 'sluice.attempt': index + 1 },
    events,
    error,
  };
}
