import { describe, expect, it } from 'vitest';
import { crd } from './crd.ts';
import { generatedFiles } from './files.ts';
import { KINDS } from './kinds.ts';
import type { Json, Structural } from './structural.ts';

const definitions = KINDS.map((kind) => ({
  kind,
  definition: crd(kind),
  schema: crd(kind).spec.versions[0]?.schema.openAPIV3Schema ?? {},
}));

/** Every schema under `schema`, with its path; `isField` = it has a name of its own. */
function nodes(schema: Structural, path = '', isField = false): { path: string; node: Structural; isField: boolean }[] {
  return [
    { path, node: schema, isField },
    ...Object.entries(schema.properties ?? {}).flatMap(([name, field]) => nodes(field, `${path}.${name}`, true)),
    ...(schema.items ? nodes(schema.items, `${path}[]`) : []),
    ...(schema.additionalProperties ? nodes(schema.additionalProperties, `${path}.*`) : []),
  ];
}

/** The schema at a path of plain names, of which one may name the first of a list; undefined = there is none. */
function at(schema: Structural, path: string): Structural | undefined {
  return path
    .split('.')
    .slice(1)
    .reduce<Structural | undefined>((here, part) => {
      const [, name = '', index] = /^([^[]*)(\[0\])?$/.exec(part) ?? [];
      const field = here?.properties?.[name];
      return index === undefined ? field : field?.items;
    }, schema);
}

/** What is wrong with `value`, as a kube-apiserver checks defaults when it takes a definition. */
function faults(value: Json, schema: Structural, path: string): string[] {
  if (schema['x-kubernetes-int-or-string'] || typeof value === 'string') {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    const isSound = new RegExp(schema.pattern ?? '', 'u').test(text) && text.length <= (schema.maxLength ?? Infinity);
    const isKnown = schema.enum === undefined || schema.enum.includes(value);
    return isSound && isKnown ? [] : [`${path}: ${text}`];
  }
  if (typeof value === 'boolean') return schema.type === 'boolean' ? [] : [`${path}: ${value}`];
  if (typeof value === 'number') return value >= (schema.minimum ?? 0) && value <= (schema.maximum ?? 0) ? [] : [`${path}: ${value}`];
  if (Array.isArray(value)) return schema.type === 'array' ? value.flatMap((item) => faults(item, schema.items ?? {}, path)) : [path];
  if (typeof value !== 'object' || value === null || schema.type !== 'object') return [`${path}: ${JSON.stringify(value)}`];
  const missing = (schema.required ?? []).filter((name) => !Object.hasOwn(value, name));
  const inner = Object.entries(value).flatMap(([name, field]) => {
    const known = schema.properties?.[name] ?? schema.additionalProperties;
    return known ? faults(field, known, `${path}.${name}`) : [`${path}.${name}`];
  });
  return [...missing, ...inner];
}

describe.each(definitions)('the CustomResourceDefinition of $kind.kind', ({ kind, definition, schema }) => {
  const all = nodes(schema);
  // A kube-apiserver knows metadata itself.
  const fields = all.filter(({ path, isField }) => isField && !path.startsWith('.metadata'));

  it('describes every field', () => {
    expect(fields.length).toBeGreaterThan(30);
    expect(fields.filter(({ node }) => !node.description?.endsWith('.')).map(({ path }) => path)).toEqual([]);
  });

  it('is structural: one type everywhere, no references, no alternatives, fields or free keys', () => {
    const allowed = (node: Structural) => node.type !== undefined || node['x-kubernetes-int-or-string'] === true;
    expect(all.filter(({ node }) => !allowed(node)).map(({ path }) => path)).toEqual([]);
    expect(all.filter(({ node }) => node.properties && node.additionalProperties).map(({ path }) => path)).toEqual([]);
    expect(JSON.stringify(definition)).not.toMatch(/"(?:\$ref|oneOf|anyOf|allOf|not|form|nullable|exclusiveMinimum)":/);
  });

  it('bounds what rules read', () => {
    const open = fields.filter(({ path, node }) => {
      if (/^\.(?:apiVersion|kind)$/.test(path) || node.enum || node.properties) return false;
      if (node.type === 'boolean') return false;
      if (node['x-kubernetes-int-or-string'] || node.type === 'string') return node.maxLength === undefined;
      if (node.type === 'array') return node.maxItems === undefined || node['x-kubernetes-list-type'] === undefined;
      if (node.type === 'object') return node.maxProperties === undefined;
      return node.minimum === undefined || node.maximum === undefined;
    });
    expect(open.map(({ path }) => path)).toEqual([]);
  });

  it('has defaults that it would accept', () => {
    const defaults = all.filter(({ node }) => node.default !== undefined);
    expect(defaults.length).toBeGreaterThan(1);
    expect(defaults.flatMap(({ path, node }) => faults(node.default ?? null, node, path))).toEqual([]);
  });

  it('has lists by key whose keys every item has', () => {
    const keyed = all.filter(({ node }) => node['x-kubernetes-list-type'] === 'map');
    expect(keyed.length).toBeGreaterThan(0);
    for (const { path, node } of keyed) {
      expect(node['x-kubernetes-list-map-keys'], path).not.toEqual([]);
      for (const key of node['x-kubernetes-list-map-keys'] ?? []) expect(node.items?.required, path).toContain(key);
    }
  });

  it('has rules that say in one line what was expected, at a field that is there', () => {
    const rules = all.flatMap(({ path, node }) => (node['x-kubernetes-validations'] ?? []).map((rule) => ({ path, node, rule })));
    expect(rules.length).toBeGreaterThan(3);
    for (const { path, node, rule } of rules) {
      const said = rule.message ?? rule.messageExpression ?? '';
      expect(said, `${path}: ${rule.rule}`).toMatch(/^'?expected /);
      expect(said + rule.rule, path).not.toContain('\n');
      if (rule.fieldPath !== undefined) expect(at(node, rule.fieldPath), `${path}${rule.fieldPath}`).toBeDefined();
    }
  });

  it('tells kubectl only of fields that are there', () => {
    const paths = [...kind.columns.map(({ jsonPath }) => jsonPath), ...Object.values(kind.scale ?? {})];
    for (const path of paths.filter((one) => one !== '.metadata.creationTimestamp')) {
      const [list, inner] = path.split(/\[\?\(.*\)\]/);
      const node = at(schema, list ?? '');
      expect(inner === undefined ? node : at(node?.items ?? {}, inner), path).toBeDefined();
    }
  });

  it('is small: under 100 kB as kubectl writes it into its annotation, which holds 256', () => {
    expect(JSON.stringify(definition).length).toBeLessThan(100_000);
  });
});

describe('the generated files', () => {
  const files = generatedFiles();

  it('are four definitions and the reference, the same every time', () => {
    expect(files.map(({ path }) => path)).toEqual([
      'crds/serving.sluice.dev_servingdeployments.yaml',
      'crds/serving.sluice.dev_servingpools.yaml',
      'crds/serving.sluice.dev_kvtiers.yaml',
      'crds/serving.sluice.dev_pinnedcontexts.yaml',
      'docs/api.md',
    ]);
    expect(generatedFiles()).toEqual(files);
  });

  /** Little more than half of what DESIGN section 4 allows; the API server and kubectl have more trouble the larger they are. */
  it('stay below 110 kB', () => {
    for (const { path, text } of files.slice(0, 4)) expect(text.length, path).toBeLessThan(110_000);
  });
});
