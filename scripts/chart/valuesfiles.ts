/** values.yaml, values.schema.json and the table of values in the README, from the schema of the values. Pure. */
import { stringify } from 'yaml';
import { z } from 'zod';
import { VALUES } from './values.ts';

/** The part of JSON Schema that the values use. */
interface Schema {
  readonly description?: string;
  readonly default?: unknown;
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
}

const COMMENT_WIDTH = 120;
const HEAD = '# Generated from scripts/chart/values.ts by `npm run generate`. Change it there.\n';

export function valuesSchema(): string {
  const schema = z.toJSONSchema(VALUES, { target: 'draft-7', io: 'input', override: ({ jsonSchema }) => tidy(jsonSchema) });
  return `${JSON.stringify({ title: 'Values of the chart of Sluice', ...schema }, null, 2)}\n`;
}

/** Names are always text, and what an object is by default stands at its members. */
function tidy(schema: z.core.JSONSchema.BaseSchema): void {
  delete schema.propertyNames;
  if (hasMembers(schema)) delete schema.default;
}

function hasMembers({ properties = {} }: { readonly properties?: object }): boolean {
  return Object.keys(properties).length > 0;
}

export function valuesYaml(): string {
  const schema: Schema = JSON.parse(valuesSchema());
  return `${HEAD}\n${block(schema, VALUES.parse({}), '')}`;
}

function block(schema: Schema, values: Readonly<Record<string, unknown>>, indent: string): string {
  return Object.entries(schema.properties ?? {})
    .map(([key, one]) => {
      const value = values[key];
      const comment = wrapped(sentence(one), COMMENT_WIDTH - indent.length).map((line) => `${indent}# ${line}\n`);
      if (hasMembers(one) && isRecord(value)) return `${comment.join('')}${indent}${key}:\n${block(one, value, `${indent}  `)}`;
      const text = stringify({ [key]: value }, { lineWidth: 0 }).trimEnd();
      return `${comment.join('')}${text.replace(/^/gm, indent)}\n`;
    })
    .join(indent === '' ? '\n' : '');
}

function sentence({ description = '', enum: choices }: Schema): string {
  return choices ? `${description} One of ${choices.join(', ')}.` : description;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function wrapped(text: string, width: number): readonly string[] {
  const lines = [''];
  for (const word of text.split(' ')) {
    const last = lines.at(-1) ?? '';
    if (last !== '' && last.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`;
  }
  return lines;
}

export function valuesTable(): string {
  const rows = rowsOf(JSON.parse(valuesSchema()), VALUES.parse({}), '');
  return ['| value | default | meaning |', '|---|---|---|', ...rows].join('\n');
}

function rowsOf(schema: Schema, values: Readonly<Record<string, unknown>>, prefix: string): readonly string[] {
  return Object.entries(schema.properties ?? {}).flatMap(([key, one]) => {
    const [path, value] = [`${prefix}${key}`, values[key]];
    if (hasMembers(one) && isRecord(value)) return rowsOf(one, value, `${path}.`);
    return [`| \`${path}\` | \`${JSON.stringify(value)}\` | ${sentence(one).replaceAll('|', '\\|')} |`];
  });
}
