/** The rules of a kind for people. Pure. */
import type { Refusal } from '../ownarguments.ts';
import type { CelRule } from '../rule.ts';
import type { Structural } from './structural.ts';

interface ToldRule {
  readonly field: string;
  readonly sentence: string;
}

/** Rules that look at several fields or at the object as it was; a field's own bounds are told with the field. */
export function rulesSection(title: string, spec: Structural): string[] {
  const rules = rulesOf('spec', spec);
  const bySentence = Map.groupBy(rules, ({ sentence }) => sentence);
  const rows = [...bySentence].map(([sentence, all]) => {
    const fields = [...new Set(all.map(({ field }) => `\`${field}\``))].join(', ');
    return `| ${fields} | ${sentence.replaceAll('|', '\\|')} |`;
  });
  return rows.length === 0 ? [] : [[`### ${title}`, '', '| field | must be |', '|---|---|', ...rows].join('\n')];
}

/** What `engine.args` and `engine.env` may not hold. */
export function refusalsSection(title: string, refusals: readonly Refusal[]): string[] {
  const rows = refusals.map(({ engine, names, why }) => `| ${engine} | ${names.map((name) => `\`${name}\``).join(' ')} | ${why} |`);
  const head = ['| engine | refused | |', '|---|---|---|'];
  const spellings = 'vLLM also takes `_` for `-` and unique beginnings of names; those are refused too.';
  return rows.length === 0 ? [] : [[`### ${title}`, '', spellings, '', ...head, ...rows].join('\n')];
}

function rulesOf(path: string, schema: Structural): ToldRule[] {
  const own = (schema['x-kubernetes-validations'] ?? []).filter(isTold).map((rule) => ({
    field: `${path}${rule.fieldPath ?? ''}`,
    sentence: (rule.message ?? sentenceOf(rule.messageExpression ?? '')).replace(/^expected /, ''),
  }));
  const inner = Object.entries(schema.properties ?? {}).flatMap(([name, field]) => [
    ...rulesOf(`${path}.${name}`, field),
    ...(field.items ? rulesOf(`${path}.${name}[]`, field.items) : []),
  ]);
  return [...own, ...inner];
}

function isTold({ fieldPath, rule }: CelRule): boolean {
  return fieldPath !== undefined || rule.includes('oldSelf') || rule.includes('startsWith');
}

/** From a concatenation in CEL to a sentence. */
function sentenceOf(expression: string): string {
  return expression
    .split(' + ')
    .map((part) => /^'(.*)'$/.exec(part)?.[1] ?? `{${/^self\.([A-Za-z0-9.]+)$/.exec(part)?.[1] ?? '…'}}`)
    .join('');
}
