/** vLLM's metrics, read and understood. */

export { MetricsFormatError } from './parse.ts';
export { type LoadContext, MetricsView, type MetricsViewOptions } from './view.ts';
