/**
 * The kinds of fields that resources are made of. Each says in one phrase what it expects; that phrase is the message of every issue
 * the field can raise, so a wrong type, a wrong form and a value out of range read alike. Patterns are in the part of the language
 * that JavaScript and RE2 (Go, so the kube-apiserver) read alike; lengths are in characters.
 */
import { z } from 'zod';
import { celText, ruled, withCelRules } from './rule.ts';
import { DURATION, durationMs, formatDuration, formatQuantity, QUANTITY, quantityBytes } from './units.ts';

interface Range {
  readonly min: number;
  readonly max: number;
  /** What is counted, for the message: `tokens`, `ms`. */
  readonly unit?: string;
}

export interface TextForm {
  readonly expected: string;
  readonly pattern: RegExp;
  /** Characters. */
  readonly max: number;
}

/** What a reader is told of a field's kind where JSON Schema has no word for it. */
export interface Form {
  readonly name: string;
  readonly bounds: string;
}

const LONGEST_DURATION = 64;
const LONGEST_QUANTITY = 32;

export function wholeNumber({ min, max, unit }: Range) {
  const error = `a whole number from ${min} to ${max}${unit ? ` (${unit})` : ''}`;
  return z
    .int({ error })
    .min(min, { error })
    .max(max, { error })
    .meta(formOf('whole number', boundsOf(min, max, unit)));
}

export function decimalNumber({ min, max, unit }: Range) {
  const error = `a number from ${min} to ${max}${unit ? ` (${unit})` : ''}`;
  return z
    .number({ error })
    .min(min, { error })
    .max(max, { error })
    .meta(formOf('number', boundsOf(min, max, unit)));
}

/** Text that matches `pattern`; `expected` says so in words and ends with an example where that helps. */
export function text({ expected: error, pattern, max }: TextForm) {
  return z
    .string({ error })
    .regex(pattern, { error })
    .refine((value) => value.length <= max || characters(value) <= max, { error })
    .meta({ maxLength: max, ...formOf('text', `at most ${formatCount(max)} characters`) });
}

/** A duration within [min, max] milliseconds, written `250ms`, `2s`, `1m30s`. */
export function duration({ min, max }: Range) {
  const [from, to] = [formatDuration(min), formatDuration(max)];
  const expected = `a duration from ${from} to ${to} with its unit, such as 250ms, 2s or 1m30s`;
  const field = text({ expected, pattern: DURATION, max: LONGEST_DURATION });
  const cel = `self.matches(${celText(DURATION.source)}) && duration(self) >= duration('${from}') && duration(self) <= duration('${to}')`;
  return ruled(field, [{ field: '', expected, cel, holds: (value) => within(durationMs(value), min, max) }]).meta(
    formOf('duration', `${from} to ${to}`),
  );
}

/** Bytes within [min, max], written `256Mi`, `1G`, or as a plain number. */
export function quantity({ min, max }: Range) {
  const [from, to] = [formatQuantity(min), formatQuantity(max)];
  const expected = `a quantity of bytes from ${from} to ${to}, such as 64Mi or 1Gi`;
  const field = z.union([z.string(), z.int()], { error: expected });
  const asText = `quantity(self).compareTo(quantity('${from}')) >= 0 && quantity(self).compareTo(quantity('${to}')) <= 0`;
  const cel = `type(self) == int ? self >= ${min} && self <= ${max} : self.matches(${celText(QUANTITY.source)}) && ${asText}`;
  const holds = (value: string | number) => String(value).length <= LONGEST_QUANTITY && within(quantityBytes(String(value)), min, max);
  return ruled(field, [{ field: '', expected, cel, holds }]).meta({
    'x-kubernetes-int-or-string': true,
    pattern: QUANTITY.source,
    maxLength: LONGEST_QUANTITY,
    ...formOf('quantity', `${from} to ${to}`),
  });
}

export function flag() {
  return z.boolean({ error: 'true or false' }).meta(formOf('true or false', ''));
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

/** A mapping of at most `max` free keys; `expected` of `key` describes a key, `pattern` bounds its length too. */
export function mapping(key: TextForm, value: z.ZodString, max: number) {
  const error = `a mapping of at most ${max} entries`;
  const record = z
    .record(text(key), value, { error: (issue) => (issue.code === 'invalid_type' ? error : undefined) })
    .refine((entries) => Object.keys(entries).length <= max, { error })
    .meta({ maxProperties: max, ...formOf('mapping of text', `at most ${max} entries`) });
  const rule = `self.all(key, key.matches(${celText(key.pattern.source)}))`;
  return withCelRules(record, [{ rule, message: `expected every key to be ${key.expected}` }]);
}

/** A list of at most `max` items whose order counts; others apply it as a whole or not at all. */
export function list<Item extends z.ZodType>(item: Item, what: string, max: number) {
  return z
    .array(item, { error: `a list of ${what}` })
    .max(max, { error: `a list of at most ${max} ${what}` })
    .meta({ 'x-kubernetes-list-type': 'atomic', ...formOf(`list of ${what}`, `at most ${max}`) });
}

/** As a kube-apiserver counts them: code points. */
function characters(value: string): number {
  return Array.from(value).length;
}

function formOf(name: string, bounds: string): { form: Form } {
  return { form: { name, bounds } };
}

function boundsOf(min: number, max: number, unit: string | undefined): string {
  return `${formatCount(min)} to ${formatCount(max)}${unit ? ` ${unit}` : ''}`;
}

function formatCount(count: number): string {
  return count.toLocaleString('en-US');
}

function within(value: number | null, min: number, max: number): boolean {
  return value !== null && value >= min && value <= max;
}
