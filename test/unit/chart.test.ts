/** What of the chart can be tested without Helm; with it: test/cluster/chart. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { chartFiles } from '../../scripts/chart/files.ts';
import { VALUES } from '../../scripts/chart/values.ts';
import { valuesSchema, valuesYaml } from '../../scripts/chart/valuesfiles.ts';
import { parseManifests } from '../../src/api/index.ts';
import { expressions, seriesOf } from '../monitoring.ts';

const ROOT = new URL('../../', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, ROOT), 'utf8');

describe('values', () => {
  it('in values.yaml are the defaults of the schema', () => {
    expect(parse(valuesYaml())).toEqual(VALUES.parse({}));
  });

  it('have a sentence each, and nothing beside them is allowed', () => {
    const open: string[] = [];
    const visit = (schema: Schema, path: string) => {
      if (path !== '' && !/^[A-Z$].*\.$/.test(schema.description ?? '')) open.push(`${path}: "${schema.description}"`);
      const entries = Object.entries(schema.properties ?? {});
      if (entries.length > 0 && schema.additionalProperties !== false) open.push(`${path} takes anything`);
      for (const [name, one] of entries) visit(one, `${path}.${name}`);
    };
    visit(JSON.parse(valuesSchema()), '');
    expect(open).toEqual([]);
  });

  it('are all used by a template, and no template uses another', () => {
    const folder = new URL('charts/sluice/templates/', ROOT);
    const texts = readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.(?:yaml|tpl|txt)$/.test(name))
      .map((name) => readFileSync(new URL(name, folder), 'utf8'));
    const used = new Set(texts.flatMap((text) => [...text.matchAll(/\.Values\.(\w+)/g)].map((match) => match[1])));
    const known = Object.keys(VALUES.parse({})).filter((name) => name !== 'global');
    expect(used).toEqual(new Set(known));
  });
});

interface Schema {
  readonly description?: string;
  readonly additionalProperties?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
}

describe('Chart.yaml', () => {
  const chart: {
    readonly version: string;
    readonly appVersion: string;
    readonly annotations: Readonly<Record<string, string>>;
  } = parse(read('charts/sluice/Chart.yaml'));
  const annotation = (name: string): unknown => parse(chart.annotations[`artifacthub.io/${name}`] ?? '');

  it('is of the version of the package, and so is the image of the manifests', () => {
    const { version }: { readonly version: string } = JSON.parse(read('package.json'));
    expect([chart.version, chart.appVersion]).toEqual([version, version]);
    expect(annotation('images')).toEqual([{ name: 'sluice', image: `sluice:${version}` }]);
    expect(read('manifests/operator/deployment.yaml').match(/sluice:[\d.]+/g)).toEqual([`sluice:${version}`, `sluice:${version}`]);
  });

  it('names the CRDs that there are', () => {
    const definitions = readdirSync(new URL('crds/', ROOT)).map((name) => parse(read(`crds/${name}`)));
    const expected = definitions.map(({ metadata, spec }) => ({
      kind: spec.names.kind,
      version: spec.versions[0].name,
      name: metadata.name,
    }));
    expect(annotation('crds')).toMatchObject(expected);
  });

  it('has an example that is sound', () => {
    const [example]: readonly unknown[] = parse(chart.annotations['artifacthub.io/crdsExamples'] ?? '');
    expect(parseManifests(JSON.stringify(example), 'Chart.yaml')).toMatchObject({ ok: true });
  });
});

describe('what is generated', () => {
  const crd = (text: string) => ({ path: 'crds/serving.sluice.dev_xs.yaml', text });
  const good = 'apiVersion: a/v1\nkind: K\nmetadata:\n  name: xs\n  labels:\n    l: v\nspec:\n  a: 1\n';
  const rbac = 'kind: Role\nmetadata:\n  name: r\nrules:\n  # Why.\n  - verbs: [get]\n';
  const sources = (text: string) => ({
    crds: [crd(text)],
    operator: [{ path: 'manifests/operator/rbac.yaml', text: rbac }],
    readme: '<!-- values -->\nold\n<!-- /values -->\n',
  });

  it('keeps the rules of a role as they are written', () => {
    const rules = chartFiles(sources(good)).find(({ path }) => path.endsWith('_rules.tpl'));
    expect(rules?.text).toContain('{{- define "r.rules" -}}\n# Why.\n- verbs: [get]\n{{- end }}');
  });

  it('is refused where Helm would misread a CRD, or the README has no place', () => {
    expect(() => chartFiles(sources(`${good}  b: "{{ x }}"\n`))).toThrow('holds {{');
    expect(() => chartFiles({ ...sources(good), readme: '' })).toThrow('has no place for the table');
  });

  it('installs CRDs first, then the namespace, then the rest', () => {
    const kinds = parseAllDocuments(read('manifests/install.yaml')).map((one) => one.get('kind'));
    const crd = 'CustomResourceDefinition';
    expect(kinds.slice(0, 6)).toEqual([crd, crd, crd, crd, 'Namespace', 'ServiceAccount']);
    expect(kinds).toContain('Deployment');
  });
});

describe('alerts and dashboard', () => {
  const document = read('docs/metrics.md');
  const rows = [...document.matchAll(/^\| (.+?) \| (histogram|counter|gauge) \|/gm)];
  const types = new Map(
    rows.flatMap(([, names = '', type = '']) => [...names.matchAll(/`([^`]+)`/g)].map((match) => [match[1] ?? '', type] as const)),
  );

  it('are found', () => expect(expressions().length).toBeGreaterThan(20));

  it.each(expressions())('$where asks for what docs/metrics.md has, as its type wants', ({ text }) => {
    const names = seriesOf(text);
    expect(names.length).toBeGreaterThan(0);
    for (const name of names) {
      const type =
        types.get(name) ?? (types.get(name.replace(/_(?:bucket|sum|count)$/, '')) === 'histogram' ? 'histogram part' : 'unknown');
      expect([name, type]).toEqual([name, expect.stringMatching(/^(?:counter|gauge|histogram part)$/)]);
      // A counter says something by its growth alone, a gauge by its value alone.
      expect([name, new RegExp(`(?:rate|increase)\\(${name}\\b`).test(text)]).toEqual([name, type !== 'gauge']);
    }
  });
});
