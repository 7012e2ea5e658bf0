/**
 * OTLP/HTTP in JSON, and what its receivers answer (https://opentelemetry.io/docs/specs/otlp/, JSON Protobuf Encoding): names in lower camel case,
 * ids as hexadecimal digits, enumerations as numbers, 64-bit integers as decimal text. Pure.
 *
 * By hand and not by OpenTelemetry's SDK for JavaScript, which was weighed: engines are told the id of a leg's span before there is a
 * span, because spans are made once, of the finished record; its processor does not say what it dropped; and nine packages, the
 * exporter among them before its 1.0, would come for one POST of one document.
 */
import type { Attributes, AttributeValue, Span, SpanEvent } from './span.ts';

/** Where receivers take traces, below their endpoint. */
export const TRACES_PATH = '/v1/traces';

const SCOPE = 'sluice';
const KINDS: Readonly<Record<Span['kind'], number>> = { internal: 1, server: 2, client: 3 };
const ERROR = 2;
const NANOS_PER_MS = 1_000_000;

/** The body of one export. @param resource who made the spans */
export function exportBody(resource: Attributes, spans: readonly Span[]): string {
  const scopeSpans = [{ scope: { name: SCOPE }, spans: spans.map(spanOf) }];
  return JSON.stringify({ resourceSpans: [{ resource: { attributes: attributesOf(resource) }, scopeSpans }] });
}

function spanOf({ traceId, id, parentId, name, kind, startsAt, endsAt, attributes, events, error }: Span): object {
  return {
    traceId,
    spanId: id,
    ...(parentId === null ? {} : { parentSpanId: parentId }),
    name,
    kind: KINDS[kind],
    startTimeUnixNano: nanosOf(startsAt),
    endTimeUnixNano: nanosOf(endsAt),
    attributes: attributesOf(attributes),
    ...(events.length === 0 ? {} : { events: events.map(eventOf) }),
    ...(error === null ? {} : { status: { code: ERROR, message: error } }),
  };
}

function eventOf({ name, at, attributes }: SpanEvent): object {
  return { name, timeUnixNano: nanosOf(at), attributes: attributesOf(attributes) };
}

function attributesOf(attributes: Attributes): object[] {
  const known: object[] = [];
  for (const key in attributes) {
    const value = attributes[key] ?? null;
    const written = value === null ? null : encoded(value);
    if (written !== null) known.push({ key, value: written });
  }
  return known;
}

/** A receiver would refuse the whole batch for one number that is none, so that is left out. */
function encoded(value: AttributeValue): object | null {
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  if (typeof value === 'number') return Number.isSafeInteger(value) ? { intValue: String(value) } : doubleOf(value);
  return 'double' in value ? doubleOf(value.double) : { arrayValue: { values: value.map(encoded) } };
}

function doubleOf(value: number): object | null {
  return Number.isFinite(value) ? { doubleValue: value } : null;
}

/** Nanoseconds as text: as a number they would not be exact. */
function nanosOf(ms: number): string {
  const whole = Math.floor(ms);
  const nanos = Math.min(NANOS_PER_MS - 1, Math.round((ms - whole) * NANOS_PER_MS));
  return `${whole}${String(nanos).padStart(6, '0')}`;
}

/** What became of an export. `retry`: the receiver cannot take it now; `refused`: it never will. */
export type Verdict =
  | { readonly kind: 'taken'; readonly rejected: number; readonly why: string }
  /** `afterMs` null = it did not say when. */
  | { readonly kind: 'retry'; readonly why: string; readonly afterMs: number | null }
  | { readonly kind: 'refused'; readonly why: string };

const MAY_PASS = [429, 502, 503, 504];
const MAX_SAID = 200;

export interface Answer {
  readonly status: number;
  readonly retryAfter: string | undefined;
  /** The beginning of it is enough to say why. */
  readonly body: string;
}

export function verdictOf({ status, retryAfter, body }: Answer): Verdict {
  if (status >= 200 && status < 300) return takenOf(body);
  const why = `it answered ${status}: ${body.slice(0, MAX_SAID)}`;
  if (!MAY_PASS.includes(status)) return { kind: 'refused', why };
  // A date, which HTTP allows too, is as if it did not say.
  return { kind: 'retry', why, afterMs: /^\d{1,6}$/.test(retryAfter ?? '') ? Number(retryAfter) * 1_000 : null };
}

interface PartialSuccess {
  readonly rejectedSpans?: number | string;
  readonly errorMessage?: string;
}

function takenOf(body: string): Verdict {
  try {
    const { partialSuccess } = JSON.parse(body) as { partialSuccess?: PartialSuccess | null };
    const rejected = Number(partialSuccess?.rejectedSpans ?? 0);
    return { kind: 'taken', rejected: Number.isFinite(rejected) ? rejected : 0, why: partialSuccess?.errorMessage ?? '' };
  } catch {
    return { kind: 'taken', rejected: 0, why: '' }; // some answer with an empty body
  }
}
