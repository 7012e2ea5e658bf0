/** Traces for OpenTelemetry. A face of its own: only routers make spans. */
export { SpanExporter } from './exporter.ts';
export type { Attributes, Span, SpanEvent } from './span.ts';
