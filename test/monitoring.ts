/** What the chart's alerts and dashboard ask Prometheus for. */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';

const FILES = new URL('../charts/sluice/files/', import.meta.url);

interface Group {
  readonly rules: readonly { readonly alert: string; readonly expr: string; readonly annotations: Readonly<Record<string, string>> }[];
}

interface Dashboard {
  readonly panels: readonly { readonly title: string; readonly targets: readonly { readonly expr: string }[] }[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly definition?: string }[] };
}

export interface Expression {
  readonly where: string;
  readonly text: string;
}

export function expressions(): readonly Expression[] {
  const groups: readonly Group[] = parse(readFileSync(new URL('alerts.yaml', FILES), 'utf8'));
  const { panels, templating }: Dashboard = JSON.parse(readFileSync(new URL('dashboard.json', FILES), 'utf8'));
  return [
    ...groups.flatMap(({ rules }) => rules.map(({ alert, expr }) => ({ where: alert, text: expr }))),
    ...panels.flatMap(({ title, targets }) => targets.map(({ expr }) => ({ where: title, text: expr }))),
    ...templating.list.flatMap(({ name, definition }) => (definition === undefined ? [] : [{ where: `$${name}`, text: definition }])),
  ];
}

/** Names of series, `_bucket` of histograms included. */
export function seriesOf(text: string): readonly string[] {
  return [...new Set([...text.matchAll(/\b(?:sluice_|vllm:)\w+/g)].map(([name]) => name))];
}
