/**
 * Whether spans are made of a request, and under which ids. The ids of all its spans follow from that of the first, so that engines can be
 * told whose children their spans are before ours are made, which is when the request is over.
 */
import type { TraceContext } from '../edge/index.ts';
import type { SpanOrigin } from '../record/index.ts';

/** What is known of a request's trace from its start on. */
export interface RequestTrace {
  /** Null = nobody keeps anything under it. */
  readonly traceId: string | null;
  /** Null = no spans are made of it. */
  readonly span: SpanOrigin | null;
  readonly flags: number;
  /** Header line of `tracestate` with its line end; '' = none. */
  readonly state: string;
  /** Header lines for engines where they are no children of ours, each with its line end. */
  readonly lines: string;
}

export type Leg = 'prefill' | 'decode';

/** Numbers of spans within a request: those of attempt n (from 0) are `attempt * n` further on. */
export const SPANS = { request: 0, admission: 1, placement: 4, prefill: 5, handOff: 6, decode: 7, attempt: 4 } as const;
/** More of them than a request can have; their numbers have two digits. */
export const MAX_ATTEMPTS = 62;

const SAMPLED = 1;
const HEX = 16;

export interface SamplingOptions {
  /** Of the requests whose client says nothing of it, 0 to 1. */
  readonly ratio: number;
  /** [0, 1). */
  readonly random: () => number;
}

/** No spans are made: what a client sends goes through. */
export function passedOn(client: TraceContext | null): RequestTrace | null {
  return client === null ? null : { ...client, span: null };
}

/** The client's word on sampling holds; without one, `ratio` decides, and engines are told. */
export function sampled(client: TraceContext | null, { ratio, random }: SamplingOptions): RequestTrace {
  if (client !== null && (client.flags & SAMPLED) === 0) return { ...client, span: null };
  const traceId = client?.traceId ?? digits(random, 8, 1) + digits(random, 8) + digits(random, 8) + digits(random, 8);
  const { flags = SAMPLED, state = '', parentId = null } = client ?? {};
  const first = digits(random, 7, 1) + digits(random, 7) + twoDigits(SPANS.request);
  if (client === null && random() >= ratio)
    return { traceId: null, span: null, flags: 0, state, lines: `traceparent: 00-${traceId}-${first}-00\r\n` };
  return { traceId, span: { id: first, parentId }, flags, state, lines: '' };
}

/** Header lines for a leg of attempt `attempt` (from 0): the engine's spans become children of the leg's. */
export function linesFor(trace: RequestTrace | null, leg: Leg, attempt: number): string {
  if (trace === null) return '';
  const { traceId, span, flags, state, lines } = trace;
  return span === null ? lines : `traceparent: 00-${traceId}-${spanId(span, attemptSpan(leg, attempt))}-${twoDigits(flags)}\r\n${state}`;
}

export function spanId({ id }: SpanOrigin, number: number): string {
  return id.slice(0, -2) + twoDigits(number);
}

export function attemptSpan(kind: 'placement' | 'prefill' | 'handOff' | 'decode', attempt: number): number {
  return SPANS[kind] + SPANS.attempt * Math.min(attempt, MAX_ATTEMPTS - 1);
}

function twoDigits(value: number): string {
  return value.toString(HEX).padStart(2, '0');
}

/** @param least more than 0 for ids that must not be all zeros */
function digits(random: () => number, count: number, least = 0): string {
  const values = HEX ** count - least;
  return (least + Math.floor(random() * values)).toString(HEX).padStart(count, '0');
}
