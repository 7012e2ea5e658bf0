/**
 * From a zod schema to a structural OpenAPI v3 schema, as a CustomResourceDefinition takes it. Pure. What a kube-apiserver would refuse
 * or silently not check is an error here, with the path of the field: nothing is patched afterwards.
 */
import { z } from 'zod';
import type { Form } from '../fields.ts';
import type { CelRule } from '../rule.ts';

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

export interface Structural {
  readonly type?: 'string' | 'integer' | 'number' | 'boolean' | 'object' | 'array';
  readonly description?: string;
  readonly format?: string;
  readonly default?: Json;
  readonly enum?: readonly Json[];
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly maxItems?: number;
  readonly maxProperties?: number;
  readonly required?: readonly string[];
  readonly items?: Structural;
  readonly additionalProperties?: Structural;
  readonly properties?: Readonly<Record<string, Structural>>;
  readonly 'x-kubernetes-int-or-string'?: true;
  readonly 'x-kubernetes-list-type'?: 'atomic' | 'map' | 'set';
  readonly 'x-kubernetes-list-map-keys'?: readonly string[];
  readonly 'x-kubernetes-validations'?: readonly CelRule[];
  /** For readers only; a CustomResourceDefinition does not know it. */
  readonly form?: Form;
}

type Source = z.core.JSONSchema.BaseSchema;

/** In the order in which they are written. */
const COPIED = [
  'type',
  'description',
  'format',
  'default',
  'enum',
  'pattern',
  'minimum',
  'maximum',
  'minLength',
  'maxLength',
  'maxItems',
  'maxProperties',
  'required',
  'x-kubernetes-int-or-string',
  'x-kubernetes-list-type',
  'x-kubernetes-list-map-keys',
  'x-kubernetes-validations',
  'form',
] as const;
/** Read here, or without a meaning for Kubernetes. */
const CONSUMED = ['items', 'additionalProperties', 'properties', 'anyOf'];

/** RE2 knows none of these. */
const NOT_RE2 = /\(\?(?:=|!|<=|<!)|\\[1-9]|\\k</;
const RE2_MAX_REPEAT = 1_000;

/** @throws {Error} with the field's path when the schema cannot be said in structural form. */
export function structural(schema: z.ZodType): Structural {
  return convert(z.toJSONSchema(schema, { io: 'input', target: 'openapi-3.0' }), []);
}

/** `schema` without what only readers need. */
export function withoutForms({ form: _form, ...schema }: Structural): Structural {
  return {
    ...schema,
    ...(schema.items && { items: withoutForms(schema.items) }),
    ...(schema.additionalProperties && { additionalProperties: withoutForms(schema.additionalProperties) }),
    ...(schema.properties && { properties: mapValues(schema.properties, withoutForms) }),
  };
}

function convert(source: Source, path: readonly string[]): Structural {
  const isIntOrString = source['x-kubernetes-int-or-string'] === true;
  const unknown = Object.keys(source).filter((key) => !(COPIED as readonly string[]).includes(key) && !CONSUMED.includes(key));
  if (unknown.length > 0) throw fault(path, `says ${unknown.join(', ')}, which a structural schema cannot`);
  if (source.anyOf && !isIntOrString) throw fault(path, 'is one of several types: use sibling fields and a rule');
  if (!source.type && !isIntOrString) throw fault(path, 'has no type');
  const copied = Object.fromEntries(COPIED.flatMap((key) => (source[key] === undefined ? [] : [[key, source[key]]])));
  const children = nested(source, path);
  const result: Structural = { ...copied, ...children };
  check(result, path);
  return result;
}

function nested(source: Source, path: readonly string[]): Partial<Structural> {
  const { properties, additionalProperties } = source;
  // OpenAPI 3.0 has no tuples.
  const items = Array.isArray(source.items) ? undefined : source.items;
  if (properties && typeof additionalProperties === 'object' && Object.keys(additionalProperties).length > 0) {
    throw fault(path, 'has both fields and free keys');
  }
  return {
    ...(typeof items === 'object' && { items: convert(items, [...path, '[]']) }),
    ...(!properties && typeof additionalProperties === 'object' && { additionalProperties: convert(additionalProperties, [...path, '*']) }),
    ...(properties && { properties: mapValues(properties, (field, name) => convert(objectOf(field), [...path, name])) }),
  };
}

/** What a kube-apiserver would accept and then not do, or would need to bound the cost of a rule. */
function check(schema: Structural, path: readonly string[]): void {
  const name = path.at(-1);
  const isField = name !== undefined && name !== '[]' && name !== '*';
  if (isField && !schema.description?.endsWith('.')) throw fault(path, 'has no description that ends with a full stop');
  if (schema.pattern !== undefined) checkPattern(schema.pattern, path);
  const isBounded = {
    string: schema.enum !== undefined || schema.maxLength !== undefined,
    integer: schema.enum !== undefined || (schema.minimum !== undefined && schema.maximum !== undefined),
    number: schema.minimum !== undefined && schema.maximum !== undefined,
    boolean: true,
    array: schema.maxItems !== undefined && schema['x-kubernetes-list-type'] !== undefined,
    object: schema.additionalProperties === undefined || schema.maxProperties !== undefined,
  }[schema.type ?? 'boolean'];
  if (!isBounded) throw fault(path, `is a ${schema.type} without bounds or list type`);
}

function checkPattern(pattern: string, path: readonly string[]): void {
  const repeats = [...pattern.matchAll(/\{(\d+)(?:,(\d*))?\}/g)].flatMap(([, low, high]) => [Number(low), Number(high ?? 0)]);
  if (NOT_RE2.test(pattern) || repeats.some((count) => count > RE2_MAX_REPEAT)) {
    throw fault(path, `has a pattern that RE2 does not know: ${pattern}`);
  }
}

function objectOf(schema: z.core.JSONSchema._JSONSchema): Source {
  return typeof schema === 'object' ? schema : {};
}

function mapValues<Value, Result>(
  record: Readonly<Record<string, Value>>,
  map: (value: Value, key: string) => Result,
): Record<string, Result> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value, key)]));
}

function fault(path: readonly string[], what: string): Error {
  return new Error(`${path.join('.') || 'the schema'} ${what}`);
}
