/** What the spans of a request share. Pure. */
import type { SpanOrigin } from '../record/index.ts';

export interface Frame {
  readonly traceId: string;
  readonly origin: SpanOrigin;
  /** Of the request, Unix milliseconds. */
  readonly startedAt: number;
  /** Of the request, milliseconds after its start. */
  readonly endMs: number;
}

export function double(value: number | null | undefined): { readonly double: number } | null {
  return value === null || value === undefined ? null : { double: value };
}
