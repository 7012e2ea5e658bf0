export { createLogger, type Logger, type LogLevel, type LogOptions } from './log.ts';
export { type Count, type LabelledValue, METRICS_CONTENT_TYPE, type MetricName, MetricTable, type Observer } from './metrics.ts';
