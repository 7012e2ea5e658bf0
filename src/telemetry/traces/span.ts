/** A span as the OpenTelemetry data model has it (https://opentelemetry.io/docs/specs/otel/trace/api/#span), as far as it is used here. */

/** A plain number is a whole one; `double` is for measures, so that one which happens to be whole has the type of all others. */
export type AttributeValue = string | boolean | number | { readonly double: number } | readonly string[];

/** Null = not known, and left out. */
export type Attributes = Readonly<Record<string, AttributeValue | null>>;

export interface SpanEvent {
  readonly name: string;
  /** Unix milliseconds, fractions of them too. */
  readonly at: number;
  readonly attributes: Attributes;
}

export interface Span {
  /** 32 lower-case hexadecimal digits, not all zero. */
  readonly traceId: string;
  /** 16 lower-case hexadecimal digits, not all zero. */
  readonly id: string;
  /** Null = it is the first of its trace. */
  readonly parentId: string | null;
  /** Few different ones; what differs from request to request is an attribute. */
  readonly name: string;
  readonly kind: 'internal' | 'server' | 'client';
  /** Unix milliseconds, fractions of them too. */
  readonly startsAt: number;
  readonly endsAt: number;
  readonly attributes: Attributes;
  readonly events: readonly SpanEvent[];
  /** Null = it went well, or nobody was at fault here. */
  readonly error: string | null;
}
