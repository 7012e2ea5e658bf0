/**
 * A finished record as spans (docs/tracing.md): made once, of what was measured anyway, so that nothing is measured twice and a request
 * that is not traced pays nothing. Attributes of the semantic conventions where they have one
 * (https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/ and http/http-spans/), `sluice.*` for the rest. Pure.
 */
import type { Attributes, Span, SpanEvent } from '../../telemetry/traces/index.ts';
import type { AttemptRecord, MoveRecord, RequestRecord } from '../record/index.ts';
import { attemptSpans } from './attempt.ts';
import { MAX_ATTEMPTS, SPANS, spanId } from './origin.ts';
import { double, type Frame } from './words.ts';

const OPERATIONS = { chat: 'chat', completion: 'text_completion' } as const;
const ROUTES = { chat: '/v1/chat/completions', completion: '/v1/completions' } as const;
const SERVER_FAULT = 500;

/** The request's span first. None of a record that has no origin. */
export function spansOf(record: RequestRecord): Span[] {
  const { traceId, span } = record;
  if (traceId === null || span === null) return [];
  const frame = { traceId, origin: span, startedAt: record.startedAt, endMs: record.totalMs ?? 0 };
  const attempts = record.attempts.slice(0, MAX_ATTEMPTS);
  return [
    requestSpan(record, frame),
    admissionSpan(record, frame),
    ...attempts.flatMap((attempt, index) => attemptSpans(frame, record, { attempt, index })),
  ];
}

function requestSpan(record: RequestRecord, { traceId, origin, startedAt, endMs }: Frame): Span {
  const operation = OPERATIONS[record.kind];
  return {
    traceId,
    id: origin.id,
    parentId: origin.parentId,
    name: `${operation} ${record.model}`,
    kind: 'server',
    startsAt: startedAt,
    endsAt: startedAt + endMs,
    attributes: { ...requestAttributes(record), ...usageAttributes(record) },
    events: eventsOf(record),
    // As HTTP has it: what the client did wrong, or was told to do later, is no error of the server.
    error: record.status >= SERVER_FAULT ? record.error : null,
  };
}

function requestAttributes(record: RequestRecord): Attributes {
  const { kind, model, stream, maxTokens, status, error, outcome, id } = record;
  const begun = stream && record.attempts.some(({ decode }) => decode !== null);
  return {
    'gen_ai.operation.name': OPERATIONS[kind],
    'gen_ai.provider.name': 'sluice',
    'gen_ai.request.model': model,
    'gen_ai.request.stream': stream,
    'gen_ai.request.max_tokens': maxTokens > 0 ? maxTokens : null,
    'http.request.method': 'POST',
    'http.route': ROUTES[kind],
    'url.path': ROUTES[kind],
    'url.scheme': 'http',
    // A stream that broke had begun well.
    'http.response.status_code': begun ? 200 : status,
    'error.type': status >= SERVER_FAULT ? (error?.split(':', 1)[0] ?? null) : null,
    'sluice.request.id': id,
    'sluice.outcome': outcome,
  };
}

function usageAttributes(record: RequestRecord): Attributes {
  const { promptTokens, outputTokens, finishReason, ttftMs, tpotMs, attempts, resumes } = record;
  const served = attempts.findLast(({ decode }) => decode !== null);
  const report = served?.prefill?.report ?? served?.decode?.report ?? null;
  const reused = report?.reused ?? null;
  return {
    // The router counts tokens itself, and guesses where it has not the model's tokenizer.
    'gen_ai.usage.input_tokens': report?.promptTokens ?? promptTokens,
    'gen_ai.usage.output_tokens': outputTokens,
    'gen_ai.usage.cache_read.input_tokens': reused === null ? null : reused.hbm + reused.host + reused.peer + reused.store,
    'gen_ai.response.finish_reasons': finishReason === null ? null : [finishReason],
    'gen_ai.response.time_to_first_chunk': double(ttftMs === null ? null : ttftMs / 1000),
    'sluice.ttft_ms': double(ttftMs),
    'sluice.tpot_ms': double(tpotMs),
    'sluice.attempts': attempts.length,
    'sluice.resumes': resumes,
  };
}

function eventsOf({ startedAt, attempts, moves }: RequestRecord): SpanEvent[] {
  const again = attempts.slice(1).map((attempt, index) => againEvent(startedAt, attempts[index], attempt));
  return [...again, ...moves.map((move) => moveEvent(startedAt, move))].sort((a, b) => a.at - b.at);
}

/** `sluice.resume` goes on in the middle of a stream, `sluice.retry` begins anew. */
function againEvent(startedAt: number, lost: AttemptRecord | undefined, { atMs, resumedTokens, decision }: AttemptRecord): SpanEvent {
  const { prefill, decode } = decision.chosen;
  const attributes = {
    'sluice.reason': lost?.error ?? null,
    'sluice.tokens': resumedTokens,
    'sluice.prefill': prefill,
    'sluice.decode': decode,
  };
  return { name: resumedTokens > 0 ? 'sluice.resume' : 'sluice.retry', at: startedAt + atMs, attributes };
}

function moveEvent(startedAt: number, move: MoveRecord): SpanEvent {
  const attributes = {
    'sluice.move.id': move.id,
    'sluice.move.from': move.from,
    'sluice.move.to': move.to,
    'sluice.move.way': move.way,
    'sluice.move.state': move.state,
    'sluice.reason': move.reason ?? move.why,
    'sluice.tokens': move.tokens,
    'sluice.blocks': move.blocks,
    'sluice.bytes': move.bytes,
    'sluice.move.took_ms': double(move.tookMs),
    'sluice.move.pause_ms': double(move.pauseMs),
  };
  return { name: 'sluice.move', at: startedAt + move.atMs, attributes };
}

/** From the request to its admission, or to its end where it was not admitted. */
function admissionSpan({ queuedMs, attempts, outcome, error }: RequestRecord, { traceId, origin, startedAt, endMs }: Frame): Span {
  const rejected = outcome === 'rejected';
  const waitedMs = attempts.length === 0 && (rejected || queuedMs === 0) ? endMs : queuedMs;
  return {
    traceId,
    id: spanId(origin, SPANS.admission),
    parentId: origin.id,
    name: 'admission',
    kind: 'internal',
    startsAt: startedAt,
    endsAt: startedAt + waitedMs,
    attributes: { 'sluice.queue_ms': { double: waitedMs } },
    events: [],
    error: rejected ? error : null,
  };
}
