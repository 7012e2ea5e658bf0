/**
 * The kinds of fields that resources are made of. Each says in one phrase what it expects; that phrase is the message of every issue
 * the field can raise, so a wrong type, a wrong form and a value out of range read alike.
 */
import { z } from 'zod';
import { durationMs, formatDuration, formatQuantity, quantityBytes } from './units.ts';

interface Range {
  readonly min: number;
  readonly max: number;
  /** What is counted, for the message: `tokens`, `ms`. */
  readonly unit?: string;
}

export function wholeNumber({ min, max, unit }: Range) {
  const error = `a whole number from ${min} to ${max}${unit ? ` (${unit})` : ''}`;
  return z.int({ error }).min(min, { error }).max(max, { error });
}

export function decimalNumber({ min, max, unit }: Range) {
  const error = `a number from ${min} to ${max}${unit ? ` (${unit})` : ''}`;
  return z.number({ error }).min(min, { error }).max(max, { error });
}

/** Text that matches `pattern`; `expected` says so in words and ends with an example where that helps. */
export function text(expected: string, pattern: RegExp) {
  return z.string({ error: expected }).regex(pattern, { error: expected });
}

/** A duration within [min, max] milliseconds, written `250ms`, `2s`, `1m30s`. */
export function duration({ min, max }: Range) {
  const error = `a duration from ${formatDuration(min)} to ${formatDuration(max)} with its unit, such as 250ms, 2s or 1m30s`;
  return z.string({ error }).refine((value) => within(durationMs(value), min, max), { error });
}

/** Bytes within [min, max], written `256Mi`, `1G`, or as a plain number. */
export function quantity({ min, max }: Range) {
  const error = `a quantity of bytes from ${formatQuantity(min)} to ${formatQuantity(max)}, such as 64Mi or 1Gi`;
  return z.union([z.string(), z.number()], { error }).refine((value) => within(quantityBytes(String(value)), min, max), { error });
}

export function oneOf<const Values extends readonly [string, ...string[]]>(values: Values) {
  return z.enum(values, { error: `one of ${values.join(', ')}` });
}

/** A mapping whose fields are all known. */
export function block<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  return z.strictObject(shape, {
    error: (issue) => (issue.code === 'invalid_type' ? 'a mapping of fields' : undefined),
  });
}

/** A mapping of at most `max` free keys; `expected` describes a key. */
export function mapping(key: { readonly expected: string; readonly pattern: RegExp }, value: z.ZodString, max: number) {
  const error = `a mapping of at most ${max} entries`;
  return z
    .record(text(key.expected, key.pattern), value, { error: (issue) => (issue.code === 'invalid_type' ? error : undefined) })
    .refine((record) => Object.keys(record).length <= max, { error });
}

function within(value: number | null, min: number, max: number): boolean {
  return value !== null && value >= min && value <= max;
}
