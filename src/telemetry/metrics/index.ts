/** Metrics for Prometheus. A face of its own: a process without metrics does not load their library. */
export { type Count, type LabelledValue, METRICS_CONTENT_TYPE, type MetricName, MetricTable, type Observer } from './table.ts';
