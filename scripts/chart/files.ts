/**
 * What of the chart and of manifests/ is made out of other files: CRDs and the rights of the operator have one source each, and the chart
 * and install.yaml follow. Pure: texts in, texts out.
 */
import { isMap, parse, parseAllDocuments, stringify } from 'yaml';
import type { GeneratedFile } from '../../src/api/crd/files.ts';
import { valuesSchema, valuesTable, valuesYaml } from './valuesfiles.ts';

const HEAD = (source: string) => `Generated from ${source} by \`npm run generate\`. Change it there.`;
const CHART = 'charts/sluice';
const PLAIN = { lineWidth: 140, aliasDuplicateObjects: false, indentSeq: false } as const;

export interface Sources {
  /** Text by path from the root of the repository. */
  readonly crds: readonly GeneratedFile[];
  /** manifests/operator, in the order in which they are to be applied. */
  readonly operator: readonly GeneratedFile[];
  readonly readme: string;
}

export const OPERATOR_FILES = ['rbac', 'roles', 'deployment'].map((name) => `manifests/operator/${name}.yaml`);
export const README = `${CHART}/README.md`;

/** @throws {Error} when a source has not the form that is known. */
export function chartFiles({ crds, operator, readme }: Sources): GeneratedFile[] {
  const text = (path: string) => operator.find((one) => one.path.endsWith(path))?.text ?? '';
  return [
    ...crds.map((crd) => ({ path: `${CHART}/templates/crds/${crd.path.replace(/^.*_/, '')}`, text: crdTemplate(crd) })),
    { path: `${CHART}/templates/_rules.tpl`, text: rulesTemplate(text('/rbac.yaml'), text('/roles.yaml')) },
    { path: `${CHART}/values.yaml`, text: valuesYaml() },
    { path: `${CHART}/values.schema.json`, text: valuesSchema() },
    { path: README, text: withTable(readme) },
    { path: 'manifests/install.yaml', text: installManifest(crds, operator) },
  ];
}

/** Of the chart, because Helm never upgrades what is in a chart's folder crds/. */
function crdTemplate({ path, text }: GeneratedFile): string {
  if (text.includes('{{')) throw new Error(`${path} holds {{, which Helm would take for its own`);
  const { metadata, ...rest }: { readonly metadata: { readonly name: string; readonly labels: object } } = parse(text);
  const { apiVersion, kind, ...body } = { apiVersion: '', kind: '', ...rest };
  return [
    `{{- /* ${HEAD(path)} */}}`,
    '{{- if .Values.crds.install }}',
    `apiVersion: ${apiVersion}`,
    `kind: ${kind}`,
    'metadata:',
    `  name: ${metadata.name}`,
    '  labels:',
    stringify(metadata.labels).trimEnd().replace(/^/gm, '    '),
    '    {{- include "sluice.labels" . | nindent 4 }}',
    '  {{- if .Values.crds.keep }}',
    '  annotations:',
    '    helm.sh/resource-policy: keep',
    '  {{- end }}',
    `${stringify(body, PLAIN).trimEnd()}`,
    '{{- end }}',
    '',
  ].join('\n');
}

function rulesTemplate(rbac: string, roles: string): string {
  const named = [...rulesOf(rbac), ...rulesOf(roles)].map(([name, rules]) => `{{- define "${name}.rules" -}}\n${rules}\n{{- end }}`);
  if (named.length === 0) throw new Error('manifests/operator/rbac.yaml holds no role');
  return `{{- /* ${HEAD('manifests/operator')} */}}\n${named.join('\n\n')}\n`;
}

/** Rules of each role as they are written, with their comments. */
function rulesOf(text: string): readonly (readonly [string, string])[] {
  return parseAllDocuments(text).flatMap((document) => {
    if (!isMap(document.contents) || !document.has('rules')) return [];
    const lines = document.toString({ lineWidth: 0, flowCollectionPadding: false }).split('\n');
    const at = lines.indexOf('rules:');
    const after = lines.slice(at + 1).filter((line) => line.startsWith(' '));
    return [[String(document.getIn(['metadata', 'name'])), after.join('\n').replace(/^ {2}/gm, '')] as const];
  });
}

const TABLE = /(<!-- values -->\n)[\s\S]*?(\n<!-- \/values -->)/;

function withTable(readme: string): string {
  if (!TABLE.test(readme)) throw new Error(`${README} has no place for the table of values: <!-- values --> and <!-- /values -->`);
  return readme.replace(TABLE, (_, open: string, close: string) => `${open}${valuesTable()}${close}`);
}

function installManifest(crds: readonly GeneratedFile[], operator: readonly GeneratedFile[]): string {
  const parts = [...crds, ...operator].map(({ text }) => text.trimEnd());
  return `# ${HEAD('crds/ and manifests/operator')}\n# kubectl apply --server-side -f manifests/install.yaml\n${parts.join('\n---\n')}\n`;
}
