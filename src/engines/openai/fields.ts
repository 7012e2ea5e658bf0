/** Readers of single body fields. Each names the field, the value it got and what it expects. `null` counts as not set, as with OpenAI. */
import { SluiceError } from '../../shared/index.ts';

export type Body = Readonly<Record<string, unknown>>;

const SHOWN_CHARACTERS = 60;

/** A value as it may stand in a message: JSON, cut short. */
export function shown(value: unknown): string {
  if (typeof value === 'number') return String(value);
  const text = JSON.stringify(value) ?? typeof value;
  return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}… (${text.length} characters)` : text;
}

export function invalid(param: string, expectation: string, value: unknown): SluiceError {
  const got = value === undefined ? 'it is missing' : `got ${shown(value)}`;
  return new SluiceError('invalid_request', `\`${param}\` must be ${expectation}; ${got}`, { param });
}

export function unsupported(param: string, message: string): SluiceError {
  return new SluiceError('unsupported_parameter', `\`${param}\`: ${message}`, { param });
}

export function isObject(value: unknown): value is Body {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function given(body: Body, name: string): unknown {
  return body[name] ?? undefined;
}

export interface NumberRange {
  readonly min: number;
  readonly max: number;
  /** True when `min` itself is not allowed. */
  readonly above?: boolean;
}

export function readNumber(body: Body, name: string, range: NumberRange): number | null {
  const value = given(body, name);
  if (value === undefined) return null;
  const low = range.above === true ? `above ${range.min}` : `from ${range.min}`;
  const fits = typeof value === 'number' && (range.above === true ? value > range.min : value >= range.min) && value <= range.max;
  if (!fits) throw invalid(name, `a number ${low} to ${range.max}`, value);
  return value;
}

export function readInteger(body: Body, name: string, range: NumberRange): number | null {
  const value = given(body, name);
  if (value === undefined) return null;
  const fits = typeof value === 'number' && Number.isSafeInteger(value) && value >= range.min && value <= range.max;
  if (!fits) throw invalid(name, `an integer from ${range.min} to ${range.max}`, value);
  return value;
}

export function readBoolean(body: Body, name: string): boolean {
  const value = given(body, name);
  if (value === undefined) return false;
  if (typeof value !== 'boolean') throw invalid(name, 'true or false', value);
  return value;
}

export function readObject(body: Body, name: string): Body | null {
  const value = given(body, name);
  if (value === undefined) return null;
  if (!isObject(value)) throw invalid(name, 'an object', value);
  return value;
}

const MAX_STOPS = 4;
const MAX_STOP_CHARACTERS = 1024;

/** `stop`: none, one or up to four strings of 1–1,024 characters. */
export function readStops(body: Body): readonly string[] {
  const value = given(body, 'stop');
  if (value === undefined) return [];
  const list = typeof value === 'string' ? [value] : value;
  if (!Array.isArray(list) || list.length > MAX_STOPS) throw invalid('stop', `a string or up to ${MAX_STOPS} strings`, value);
  return list.map((stop: unknown, index) => {
    const name = typeof value === 'string' ? 'stop' : `stop[${index}]`;
    if (typeof stop !== 'string' || stop.length === 0 || stop.length > MAX_STOP_CHARACTERS || !stop.isWellFormed()) {
      throw invalid(name, `a well-formed string of 1 to ${MAX_STOP_CHARACTERS} characters`, stop);
    }
    return stop;
  });
}

/** Token ids of a prompt or header: integers from 0 to `vocabularySize - 1`. */
export function readTokenIds(values: readonly unknown[], param: string, vocabularySize: number): Int32Array {
  const tokens = new Int32Array(values.length);
  for (let index = 0; index < values.length; index += 1) {
    const value = values[index];
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value >= vocabularySize) {
      throw invalid(`${param}[${index}]`, `a token id from 0 to ${vocabularySize - 1}`, value ?? null);
    }
    tokens[index] = value;
  }
  return tokens;
}
