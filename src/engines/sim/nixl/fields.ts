/**
 * Readers of single body fields. vLLM refuses a value of the wrong kind otherwise than one that is out of range; what it would convert
 * (`"5"` for 5) is refused here. `null` counts as not set. Pure.
 */
import { type Body, isObject, shown } from '../../openai/fields.ts';
import type { Fault } from './faults.ts';

/** Thrown where a request is read, told where it is answered. */
export class Refusal extends Error {
  readonly fault: Fault;

  constructor(fault: Fault) {
    super(fault.message);
    this.fault = fault;
  }
}

/** A value of the wrong kind. */
export function malformed(path: string, expectation: string, value: unknown): Refusal {
  const got = value === undefined ? 'Field required' : `Input should be ${expectation}; got ${shown(value)}`;
  const message = `1 validation error:\n  {'loc': '${path}', 'msg': '${got}'}`;
  return new Refusal({ status: 400, type: 'Bad Request', message, param: path });
}

/** A value that can not be taken. */
export function refused(message: string, param: string | null): Refusal {
  return new Refusal({ status: 400, type: 'BadRequestError', message, param });
}

export function numberIn(body: Body, name: string): number | null {
  const value = body[name] ?? null;
  if (value === null || typeof value === 'number') return value;
  throw malformed(`body.${name}`, 'a valid number', value);
}

export function integerIn(body: Body, name: string): number | null {
  const value = numberIn(body, name);
  if (value === null || Number.isInteger(value)) return value;
  throw malformed(`body.${name}`, 'a valid integer', value);
}

export function booleanIn(body: Body, name: string): boolean {
  const value = body[name] ?? false;
  if (typeof value === 'boolean') return value;
  throw malformed(`body.${name}`, 'a valid boolean', value);
}

export function objectIn(body: Body, name: string): Body | null {
  const value = body[name] ?? null;
  if (value === null || isObject(value)) return value;
  throw malformed(`body.${name}`, 'a valid dictionary', value);
}

const MAX_STOPS = 4;

export function stopsIn(body: Body): readonly string[] {
  const value = body['stop'] ?? [];
  const list: unknown = typeof value === 'string' ? [value] : value;
  const fits = (stops: unknown): stops is string[] =>
    Array.isArray(stops) && stops.length <= MAX_STOPS && stops.every((stop) => typeof stop === 'string');
  if (!fits(list)) throw malformed('body.stop', `a valid string, or a list of at most ${MAX_STOPS}`, value);
  if (list.includes('')) throw refused('stop cannot contain an empty string.', null);
  return list;
}
