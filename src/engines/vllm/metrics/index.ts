/** vLLM's metrics, read and understood. */

export { type LoadContext, MetricsView, type MetricsViewOptions } from './view.ts';
