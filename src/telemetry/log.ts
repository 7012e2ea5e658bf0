/**
 * The log of a process: JSON lines on standard error, or short lines for a person. Standard output is never written, it belongs to the
 * command. Nothing secret and no request text is logged; ids are.
 */
import { type DestinationStream, type Logger, pino } from 'pino';

export type { Logger } from 'pino';
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

export interface LogOptions {
  /** Who speaks: `router`, `decode-1`. */
  readonly name: string;
  readonly level: LogLevel;
  /** `json`: one object per line; `pretty`: `12:03:04 WARN decode-1  text  key=value`. */
  readonly format: 'json' | 'pretty';
  /** Standard error unless a test wants the lines. */
  readonly destination?: DestinationStream;
}

const STDERR_FD = 2;
/** Fields of every record that a pretty line shows in its own place, or not at all. */
const OWN_FIELDS = new Set(['level', 'time', 'name', 'msg', 'pid', 'hostname']);

export function createLogger({ name, level, format, destination }: LogOptions): Logger {
  // Synchronous: a process that dies right after an error still shows it.
  const stderr = destination ?? pino.destination({ fd: STDERR_FD, sync: true });
  const stream = format === 'json' ? stderr : { write: (line: string) => stderr.write(prettyLine(line)) };
  const formatters = { level: (label: string) => ({ level: label }) };
  return pino({ name, level, base: { name }, formatters, timestamp: pino.stdTimeFunctions.isoTime }, stream);
}

/** One JSON record as a line for a person. A line that is no record stays as it is. */
export function prettyLine(json: string): string {
  let record: Record<string, unknown>;
  try {
    record = JSON.parse(json);
  } catch {
    // Not ours: better shown raw than lost.
    return json;
  }
  const text = (key: string) => (typeof record[key] === 'string' ? record[key] : '');
  const time = text('time').slice(11, 19);
  const level = text('level').toUpperCase();
  const fields = Object.entries(record)
    .filter(([key]) => !OWN_FIELDS.has(key))
    .map(([key, value]) => `  ${key}=${fieldText(value)}`);
  return `${time} ${level.padEnd(5)} ${text('name')}  ${text('msg')}${fields.join('')}\n`;
}

function fieldText(value: unknown): string {
  if (typeof value === 'string') return /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
  return JSON.stringify(value);
}
