/** The chart and manifests/install.yaml on a real API server: everything is taken, upgrades reach the CRDs, and uninstalling spares them. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Answer } from '../admin.ts';
import { startCluster, type TestCluster } from '../apiserver.ts';
import { until } from '../bed.ts';
import { findProgram } from '../binaries.ts';
import { CHART, Helm, type Manifest, manifestsOf, pathOf } from './helm.ts';

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const MANIFESTS = fileURLToPath(new URL('../../../manifests', import.meta.url));
const CRD = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/servingdeployments.serving.sluice.dev';
const SYSTEM = 'sluice-system';
const OPERATOR = `/apis/apps/v1/namespaces/${SYSTEM}/deployments/sluice-operator`;
const kubectl = findProgram('kubectl', process.env);

let cluster: TestCluster;
let helm: Helm;
beforeAll(async () => {
  cluster = await startCluster();
  helm = new Helm(cluster.kubeconfig);
});
afterAll(async () => {
  helm.close();
  await cluster.stop();
});

async function statusOf(path: string): Promise<number> {
  return (await cluster.admin.request('GET', path)).status;
}

function put(manifest: Manifest, query = ''): Promise<Answer> {
  const path = `${pathOf(manifest)}?fieldManager=kubectl&force=true&fieldValidation=Strict${query}`;
  return cluster.admin.request('PATCH', path, { body: JSON.stringify(manifest), contentType: 'application/apply-patch+yaml' });
}

interface Definition {
  readonly metadata: { readonly annotations?: Readonly<Record<string, string>> };
  readonly spec: { readonly names: { readonly shortNames?: readonly string[] } };
}

describe('helm', () => {
  const older = mkdtempSync(join(tmpdir(), 'sluice-chart-'));
  afterAll(() => rmSync(older, { recursive: true, force: true }));

  it('installs the chart as the documentation says', async () => {
    // As a release before this one had it: without a short name.
    cpSync(CHART, older, { recursive: true });
    const template = join(older, 'templates/crds/servingdeployments.yaml');
    writeFileSync(template, readFileSync(template, 'utf8').replace('    shortNames:\n    - sd\n', ''));
    const said = await helm.demand('install', 'sluice', older, '-n', SYSTEM, '--create-namespace');
    expect(said).toContain('STATUS: deployed');
    expect(said).toContain('helm test sluice -n sluice-system');
    expect(await statusOf(OPERATOR)).toBe(200);
    expect((await cluster.admin.demand<Definition>('GET', CRD)).spec.names.shortNames).toBeUndefined();
  });

  it('upgrades it, CRDs included', async () => {
    await helm.demand('upgrade', 'sluice', CHART, '-n', SYSTEM, '--set', 'replicas=3,metrics.dashboard.enabled=true');
    expect(await cluster.admin.demand('GET', OPERATOR)).toMatchObject({ spec: { replicas: 3 } });
    expect((await cluster.admin.demand<Definition>('GET', CRD)).spec.names.shortNames).toEqual(['sd']);
  });

  it('goes back to the version before, CRDs included, and forward again', async () => {
    await helm.demand('rollback', 'sluice', '-n', SYSTEM);
    expect(await cluster.admin.demand('GET', OPERATOR)).toMatchObject({ spec: { replicas: 2 } });
    expect((await cluster.admin.demand<Definition>('GET', CRD)).spec.names.shortNames).toBeUndefined();
    await helm.demand('upgrade', 'sluice', CHART, '-n', SYSTEM);
    expect((await cluster.admin.demand<Definition>('GET', CRD)).spec.names.shortNames).toEqual(['sd']);
  });

  it('installs a second release for one namespace beside it, and none that would take the CRDs', async () => {
    const namespace = await cluster.admin.namespace('team');
    const { code, stderr } = await helm.run('install', 'other', CHART, '-n', namespace);
    expect([code, stderr]).toEqual([1, expect.stringContaining('invalid ownership metadata')]);
    await helm.demand('install', 'other', CHART, '-n', namespace, '--set', `crds.install=false,watchNamespace=${namespace}`);
    const roles = `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}/roles`;
    expect(await statusOf(`${roles}/other-sluice-operator`)).toBe(200);
    expect(await statusOf(`${roles}/other-sluice-operator-leader`)).toBe(200);
    await helm.demand('uninstall', 'other', '-n', namespace);
  });

  it('leaves the CRDs when it takes the release away, and takes them up again', async () => {
    await helm.demand('uninstall', 'sluice', '-n', SYSTEM);
    expect(await statusOf(OPERATOR)).toBe(404);
    expect(await statusOf(CRD)).toBe(200);
    await helm.demand('install', 'renamed', CHART, '-n', SYSTEM, '--take-ownership');
    await helm.demand('upgrade', 'renamed', CHART, '-n', SYSTEM, '--set', 'crds.keep=false');
    await helm.demand('uninstall', 'renamed', '-n', SYSTEM);
    await until(
      async () => (await statusOf(CRD)) === 404,
      () => 'the CRD is still there',
    );
  });
});

describe('manifests/install.yaml', () => {
  const objects = manifestsOf(readFileSync(join(MANIFESTS, 'install.yaml'), 'utf8'));

  it('is taken, object by object', async () => {
    for (const manifest of objects) {
      const answer = await put(manifest);
      expect([manifest.kind, answer.status < 300 ? '' : answer.body]).toEqual([manifest.kind, '']);
    }
    expect(objects.map(({ kind }) => kind)).toEqual(expect.arrayContaining(['CustomResourceDefinition', 'Namespace', 'Deployment']));
  });

  it('makes a pod that its own namespace admits, which admits restricted ones alone', async () => {
    const { spec } = await cluster.admin.demand<{ readonly spec: { readonly template: { readonly spec: Record<string, unknown> } } }>(
      'GET',
      OPERATOR,
    );
    const tryOut = (pod: Record<string, unknown>) =>
      cluster.admin.request('POST', `/api/v1/namespaces/${SYSTEM}/pods?dryRun=All&fieldValidation=Strict`, {
        body: { metadata: { name: 'x' }, spec: pod },
      });
    expect((await tryOut(spec.template.spec)).status).toBe(201);
    const loose = await tryOut({ ...spec.template.spec, securityContext: {} });
    expect([loose.status, loose.body]).toEqual([403, expect.stringContaining('violates PodSecurity')]);
  });

  it('gives people the rights of the roles that they have', async () => {
    const rights = async (role: string) => {
      const answer = await cluster.admin.demand<{ readonly metadata: { readonly labels: Readonly<Record<string, string>> } }>(
        'GET',
        `/apis/rbac.authorization.k8s.io/v1/clusterroles/sluice-${role}`,
      );
      return Object.keys(answer.metadata.labels).filter((label) => label.includes('aggregate-to'));
    };
    expect((await rights('view')).map((label) => label.replace(/.*-to-/, ''))).toEqual(['admin', 'edit', 'view']);
    expect(await rights('admin')).toHaveLength(1);
  });

  it.runIf(kubectl !== null)('is what the kustomization builds', () => {
    const build = (folder: string) => manifestsOf(execFileSync(kubectl ?? '', ['kustomize', folder], { encoding: 'utf8' }));
    const key = ({ kind, metadata }: Manifest) => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`;
    const sorted = (all: readonly Manifest[]) => all.toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
    expect(sorted(build(MANIFESTS))).toEqual(sorted(objects));
  });
});

describe('every set of values', () => {
  it.each(['default', 'one-namespace', 'everything'])('%s is taken', async (name) => {
    const objects = manifestsOf(readFileSync(new URL(`golden/${name}.yaml`, import.meta.url), 'utf8'));
    const namespaces = new Set(objects.flatMap(({ metadata }) => metadata.namespace ?? []));
    for (const namespace of namespaces)
      await put({
        apiVersion: 'v1',
        kind: 'Namespace',
        metadata: { name: namespace, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
      });
    for (const manifest of objects) {
      // Of prometheus-operator, whose definitions are not here.
      if (manifest.apiVersion.startsWith('monitoring.coreos.com/')) continue;
      const answer = await put(manifest, '&dryRun=All');
      expect([manifest.kind, answer.status < 300 ? '' : answer.body]).toEqual([manifest.kind, '']);
    }
  });
});
