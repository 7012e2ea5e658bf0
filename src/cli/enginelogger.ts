import { createLogger, type Logger } from '../telemetry/index.ts';

/** @param name of the instance */
export function engineLogger(name: string): Logger {
  return createLogger({ name, level: 'info', format: process.stderr.isTTY ? 'pretty' : 'json' });
}
