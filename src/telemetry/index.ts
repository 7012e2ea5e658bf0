/** The log. Metrics have a face of their own. */
export { createLogger, type Logger, type LogLevel, type LogOptions } from './log.ts';
