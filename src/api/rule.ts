/**
 * Rules that are said twice, side by side: in TypeScript for manifests that Sluice reads itself, and in CEL for those that a
 * kube-apiserver admits. One expectation serves both, so that a mistake reads the same wherever it is made.
 */
import type { z } from 'zod';
import type { Finding } from './finding.ts';

export interface Rule<Value> {
  /** The field at fault, from the ruled value on, such as `kv.lease`; '' = the value itself. */
  readonly field: string;
  /** What was expected and what to do. `{kv.lease}` stands for what is written there; it must be text, and present when the rule is broken. */
  readonly expected: string;
  /** True when the rule holds; `self` is the ruled value with its defaults. */
  readonly cel: string;
  readonly holds: (value: Value) => boolean;
}

/** One entry of `x-kubernetes-validations`. */
export interface CelRule {
  readonly rule: string;
  readonly message?: string;
  readonly messageExpression?: string;
  readonly fieldPath?: string;
}

export const CEL_RULES = 'x-kubernetes-validations';
const PLACEHOLDER = /\{([A-Za-z0-9.]+)\}/g;

/** `schema` with `rules` on it, in both languages. */
export function ruled<Schema extends z.ZodType>(schema: Schema, rules: readonly Rule<z.output<Schema>>[]): Schema {
  const checked = schema.superRefine((value, context) => {
    for (const { path, expected } of brokenRules(rules, value)) context.addIssue({ code: 'custom', path: [...path], message: expected });
  });
  return withCelRules(checked, rules.map(celRule));
}

/** `schema` with rules that only a kube-apiserver needs: their twin is part of zod's own check, or looks at the object as it was before. */
export function withCelRules<Schema extends z.ZodType>(schema: Schema, rules: readonly CelRule[]): Schema {
  const before = schema.meta()?.[CEL_RULES];
  return schema.meta({ [CEL_RULES]: [...(Array.isArray(before) ? before : []), ...rules] });
}

export function brokenRules<Value>(rules: readonly Rule<Value>[], value: Value): Finding[] {
  return rules
    .filter((rule) => !rule.holds(value))
    .map(({ field, expected }) => ({
      path: field === '' ? [] : field.split('.'),
      expected: expected.replaceAll(PLACEHOLDER, (_, path: string) => String(valueAt(value, path))),
    }));
}

export function celRule<Value>({ field, expected, cel }: Rule<Value>): CelRule {
  const fieldPath = field === '' ? {} : { fieldPath: `.${field}` };
  const message = `expected ${expected}`;
  if (message.search(PLACEHOLDER) < 0) return { rule: cel, message, ...fieldPath };
  const parts = message.split(PLACEHOLDER).map((part, index) => (index % 2 === 1 ? `self.${part}` : celText(part)));
  return { rule: cel, messageExpression: parts.join(' + '), ...fieldPath };
}

/** A literal of CEL; a raw one where that spares backslashes. */
export function celText(text: string): string {
  if (text.includes('\\') && !text.includes("'")) return `r'${text}'`;
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

export function celList(texts: readonly string[]): string {
  return `[${texts.map(celText).join(', ')}]`;
}

function valueAt(value: unknown, path: string): unknown {
  let here = value;
  for (const part of path.split('.')) here = typeof here === 'object' && here !== null ? Reflect.get(here, part) : undefined;
  return here;
}
