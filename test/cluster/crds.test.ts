/** The CRDs of crds/ in a real API server: accepted, and of one mind with the schemas of src/api about every case of test/data/api-cases. */
import { readdirSync, readFileSync } from 'node:fs';
import { beforeAll, describe, expect, inject, it } from 'vitest';
import { parse } from 'yaml';
import { type ApiCase, apiCases, type Manifest } from '../apicases.ts';
import { Admin, type Answer } from './admin.ts';
import { until } from './bed.ts';
import { installCrds } from './operatorbed.ts';

interface Rule {
  readonly rule: string;
  readonly message?: string;
  readonly messageExpression?: string;
}

interface Schema {
  readonly 'x-kubernetes-validations'?: readonly Rule[];
  readonly default?: unknown;
  readonly additionalProperties?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
}

interface Definition {
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly group: string;
    readonly names: { readonly kind: string; readonly plural: string; readonly shortNames: readonly string[] };
    readonly versions: readonly { readonly name: string; readonly schema: { readonly openAPIV3Schema: Schema } }[];
  };
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message: string }[] };
}

interface Row {
  readonly cells: readonly unknown[];
}

interface Table {
  readonly columnDefinitions: readonly { readonly name: string; readonly priority: number }[];
  readonly rows: readonly Row[];
}

const FOLDER = new URL('../../crds/', import.meta.url);
const definitions: readonly Definition[] = readdirSync(FOLDER).map((file) => parse(readFileSync(new URL(file, FOLDER), 'utf8')));
const CRDS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const cases = apiCases();
const refusedCases = cases.filter(({ refused }) => refused !== null);
/** What was answered to them. */
const said: string[] = [];

let admin: Admin;
let namespace = '';

async function conditions({ metadata }: Definition) {
  const stored = await admin.demand<Definition>('GET', `${CRDS}/${metadata.name}`);
  return Object.fromEntries((stored.status?.conditions ?? []).map(({ type, status }) => [type, status]));
}

beforeAll(async () => {
  admin = new Admin(inject('kubeconfig'));
  namespace = await admin.namespace('crds');
  await installCrds(admin);
  for (const definition of definitions)
    await until(
      async () => (await conditions(definition))['Established'] === 'True',
      () => `${definition.metadata.name} is not established`,
    );
});

function definitionOf(kind: string): Definition {
  const found = definitions.find(({ spec }) => spec.names.kind === kind);
  if (!found) throw new Error(`crds/ has no ${kind}`);
  return found;
}

function collection({ kind }: Manifest): string {
  const { group, names, versions } = definitionOf(kind).spec;
  return `/apis/${group}/${versions[0]?.name}/namespaces/${namespace}/${names.plural}`;
}

const STRICT = 'fieldValidation=Strict';

/** What the API server says to a case; nothing of it stays. */
async function judge({ manifest, before }: ApiCase): Promise<Answer> {
  if (before === null) return admin.request('POST', `${collection(manifest)}?${STRICT}&dryRun=All`, { body: manifest });
  const made = await admin.demand<Manifest>('POST', `${collection(before)}?${STRICT}`, { body: before });
  const path = `${collection(before)}/${before.metadata.name}`;
  try {
    return await admin.request('PUT', `${path}?${STRICT}`, { body: { ...manifest, metadata: made.metadata } });
  } finally {
    await admin.demand('DELETE', path);
  }
}

/** Paths of `value` at which a default of the schema was not filled in. */
function unfilled(schema: Schema, value: unknown, path: string): string[] {
  if (Array.isArray(value)) return value.flatMap((item, index) => (schema.items ? unfilled(schema.items, item, `${path}[${index}]`) : []));
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(schema.properties ?? {}).flatMap(([name, property]) => {
    const inner: unknown = Reflect.get(value, name);
    const here = `${path}.${name}`;
    if (inner === undefined) return property.default === undefined ? [] : [here];
    return unfilled(property, inner, here);
  });
}

describe.each(definitions.map((one) => [one.metadata.name, one] as const))('%s', (_, definition) => {
  it('is accepted with a structural schema and its names', async () => {
    const now = await conditions(definition);
    expect(now).toMatchObject({ Established: 'True', NamesAccepted: 'True' });
    expect(now).not.toHaveProperty('NonStructuralSchema');
  });

  it('is all that was written: the API server dropped nothing of it', async () => {
    const stored = await admin.demand<Definition>('GET', `${CRDS}/${definition.metadata.name}`);
    expect(stored.spec).toMatchObject(JSON.parse(JSON.stringify(definition.spec)));
  });
});

describe('the API server', () => {
  it.each(cases.filter(({ refused }) => refused === null).map((one) => [one.name, one] as const))(
    'accepts %s, with every default',
    async (_, one) => {
      const { status, body } = await judge(one);
      expect(status, body).toBeLessThan(300);
      const schema = definitionOf(one.manifest.kind).spec.versions[0]?.schema.openAPIV3Schema;
      expect(unfilled(schema ?? {}, JSON.parse(body), '')).toEqual([]);
    },
  );

  it.each(refusedCases.map((one) => [one.name, one] as const))('refuses %s', async (_, one) => {
    const { status, body } = await judge(one);
    said.push(JSON.parse(body).message);
    expect([400, 422], body).toContain(status);
    const { message }: { readonly message: string } = JSON.parse(body);
    expect(message).toContain(one.refused?.path);
    expect(message).toContain(one.refused?.says);
  });

  it('has been shown at least 60 manifests that are wrong', () => {
    expect(new Set(refusedCases.map(({ manifest }) => JSON.stringify(manifest))).size).toBeGreaterThanOrEqual(60);
  });

  it('has refused something by every rule of the definitions, those about changes of an object too', () => {
    expect(said).toHaveLength(refusedCases.length);
    const rules = definitions.flatMap(({ spec }) => spec.versions.flatMap(({ schema }) => rulesOf(schema.openAPIV3Schema)));
    expect(rules.length).toBeGreaterThan(60);
    expect(rules.filter(({ rule }) => rule.includes('oldSelf')).length).toBeGreaterThan(0);
    const unbroken = rules.filter((rule) => !said.some((message) => wordsOf(rule).every((words) => message.includes(words))));
    expect([...new Set(unbroken.map(({ message, messageExpression }) => message ?? messageExpression))]).toEqual([]);
  });
});

function rulesOf({ properties, items, additionalProperties, ...schema }: Schema): readonly Rule[] {
  const inner = [...Object.values(properties ?? {}), ...(items ? [items] : []), ...(additionalProperties ? [additionalProperties] : [])];
  return [...(schema['x-kubernetes-validations'] ?? []), ...inner.flatMap(rulesOf)];
}

/** What a rule says, without what it puts in from the object. */
function wordsOf({ message, messageExpression = '' }: Rule): readonly string[] {
  if (message !== undefined) return [message];
  const literals = [...messageExpression.matchAll(/(?:^|\+ )'((?:[^'\\]|\\.)*)'/g)];
  return literals.map(([, text = '']) => text.replaceAll("\\'", "'").replaceAll('\\\\', '\\')).filter((text) => text.length > 2);
}

describe('a ServingPool', () => {
  const pool: Manifest = {
    apiVersion: 'serving.sluice.dev/v1alpha1',
    kind: 'ServingPool',
    metadata: { name: 'scaled' },
    spec: { role: 'decode', replicas: 2, instance: { revision: 'a', family: 'b', model: { name: 'm' }, engine: { type: 'sim' } } },
  };
  const merge = { contentType: 'application/merge-patch+json' };

  it('is scaled by its sub-resource, within its bounds, and tells it its selector', async () => {
    await admin.demand('POST', collection(pool), { body: pool });
    const path = `${collection(pool)}/scaled`;
    const status = { replicas: 1, readyReplicas: 1, selector: 'role=decode' };
    await admin.demand('PATCH', `${path}/status`, { body: { status }, ...merge });
    expect(await admin.demand('GET', `${path}/scale`)).toMatchObject({
      spec: { replicas: 2 },
      status: { replicas: 1, selector: 'role=decode' },
    });
    await admin.demand('PATCH', `${path}/scale`, { body: { spec: { replicas: 5 } }, ...merge });
    expect(await admin.demand('GET', path)).toMatchObject({ spec: { replicas: 5 }, status });
    const tooLarge = await admin.request('PATCH', `${path}/scale`, { body: { spec: { replicas: 65 } }, ...merge });
    expect(tooLarge.status, tooLarge.body).toBe(422);
  });

  it('prints its columns', async () => {
    const table = await print(pool);
    expect(table).toMatchObject({ Name: 'scaled', Role: 'decode', Desired: 5, Ready: 1 });
    expect(table['Age']).toMatch(/^\d+s$|<unknown>/);
  });
});

describe('a ServingDeployment', () => {
  const deployment: Manifest = {
    apiVersion: 'serving.sluice.dev/v1alpha1',
    kind: 'ServingDeployment',
    metadata: { name: 'printed' },
    spec: { model: { name: 'qwen' }, engine: { type: 'sim' }, prefill: { replicas: 2 }, decode: {} },
  };

  it('prints its columns, found by its short name', async () => {
    await admin.demand('POST', collection(deployment), { body: deployment });
    expect(await print(deployment)).toMatchObject({ Name: 'printed', Model: 'qwen' });
    expect(definitionOf('ServingDeployment').spec.names.shortNames).toEqual(['sd']);
  });

  it('keeps its status apart from its spec', async () => {
    const path = `${collection(deployment)}/printed`;
    const before = await admin.demand<{ metadata: { generation: number } }>('GET', path);
    const type = 'application/merge-patch+json';
    const status = {
      conditions: [{ type: 'Ready', status: 'False', reason: 'Starting', message: 'm', lastTransitionTime: '2026-01-01T00:00:00Z' }],
    };
    await admin.demand('PATCH', `${path}/status`, { body: { status, spec: { model: { name: 'other' } } }, contentType: type });
    const after = await admin.demand<{ metadata: { generation: number }; spec: unknown }>('GET', path);
    expect(after).toMatchObject({ metadata: { generation: before.metadata.generation }, spec: { model: { name: 'qwen' } } });
    expect(await print(deployment)).toMatchObject({ Ready: 'False', Reason: 'Starting' });
  });
});

/** What `kubectl get -o wide` would show of the one object of its kind, by the names of the columns. */
async function print(manifest: Manifest): Promise<Record<string, unknown>> {
  const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io';
  const { columnDefinitions, rows } = await admin.demand<Table>('GET', `${collection(manifest)}/${manifest.metadata.name}`, { accept });
  return Object.fromEntries(columnDefinitions.map(({ name }, index) => [name, rows[0]?.cells[index]]));
}
