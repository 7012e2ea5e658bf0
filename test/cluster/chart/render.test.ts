/** The chart as Helm renders it: golden objects, the same as manifests/install.yaml, and wrong values refused. */
import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { CHART, Helm, type Manifest, manifestsOf } from './helm.ts';

const MANIFESTS = new URL('../../../manifests/', import.meta.url);
const helm = new Helm();
afterAll(() => helm.close());

/** Release, namespace, values; the CRDs have golden files of their own in crds/. */
const GOLDEN = {
  default: ['sluice', 'sluice-system'],
  'one-namespace': ['123', '45', '--set-string', 'watchNamespace=99', '--set', 'replicas=1,test.engine=llamacpp'],
  everything: ['prod', 'ops', '--values', `${CHART}/ci/everything.yaml`],
} as const;

describe('the chart', () => {
  it('has nothing that helm lint would say a word about', async () => {
    expect(await helm.demand('lint', '--strict', CHART)).toContain('0 chart(s) failed');
    expect(await helm.demand('lint', '--strict', CHART, '--values', `${CHART}/ci/everything.yaml`)).toContain('0 chart(s) failed');
  });

  it.each(Object.entries(GOLDEN))('renders %s as before', async (name, [release, namespace, ...values]) => {
    const text = await helm.render(release, namespace, '--set', 'crds.install=false', ...values);
    await expect(text).toMatchFileSnapshot(`golden/${name}.yaml`);
  });

  it('writes no values of a template where names and numbers could be mistaken', async () => {
    const objects = manifestsOf(await helm.render('1e3', '007', '--set', 'crds.install=false'));
    for (const { metadata } of objects) {
      expect(typeof metadata.name).toBe('string');
      expect(['007', undefined]).toContain(metadata.namespace);
      for (const value of Object.values(metadata.labels ?? {})) expect(typeof value).toBe('string');
    }
  });

  it('keeps names short enough for what is put behind them', async () => {
    const objects = manifestsOf(await helm.render('r'.repeat(53), 'n', '--set', 'crds.install=false'));
    const test = objects.find(({ kind }) => kind === 'ServingDeployment');
    expect(test?.metadata.name.length).toBeLessThanOrEqual(53);
    for (const { metadata } of objects) expect(metadata.name.length).toBeLessThanOrEqual(63);
  });

  it('gives a second release other names', async () => {
    const names = async (release: string) =>
      manifestsOf(await helm.render(release, 'n', '--set', 'crds.install=false')).map(({ kind, metadata }) => `${kind}/${metadata.name}`);
    const [one, other] = [await names('one'), await names('other')];
    // Operators of one namespace agree by one Lease, whoever installed them.
    expect(other.filter((name) => one.includes(name))).toEqual(['Lease/sluice-operator']);
  });

  it('is part of another chart that has values for all', async () => {
    expect(await helm.render('a', 'n', '--set', 'global.imageRegistry=x')).toContain('kind: Deployment');
  });
});

describe('manifests/install.yaml', () => {
  it('is the chart with its defaults, as release sluice in sluice-system', async () => {
    const rendered = manifestsOf(await helm.render('sluice', 'sluice-system'));
    const plain = manifestsOf(readFileSync(new URL('install.yaml', MANIFESTS), 'utf8'));
    const key = ({ kind, metadata }: Manifest) => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`;
    const byKey = (objects: readonly Manifest[]) => Object.fromEntries(objects.map((one) => [key(one), withoutHelm(one)]));
    const installed = rendered.filter(({ metadata }) => metadata.annotations?.['helm.sh/hook'] === undefined);
    const { 'Namespace /sluice-system': namespace, ...rest } = byKey(plain);
    expect(namespace).toBeDefined();
    expect(byKey(installed)).toEqual(rest);
  });
});

describe('rights', () => {
  const roles = manifestsOf(readFileSync(new URL('operator/rbac.yaml', MANIFESTS), 'utf8')).filter(({ rules }) => rules !== undefined);

  it.each([
    ['in every namespace', [], 'ClusterRole'],
    ['in one', ['--set', 'watchNamespace=team'], 'Role'],
  ] as const)('of the operator %s are those of manifests/operator/rbac.yaml', async (_, values, kind) => {
    const objects = manifestsOf(await helm.render('x', 'n', '--set', 'rbac.aggregate=false', ...values));
    const given = objects.filter(({ rules }) => rules !== undefined).map(({ rules }) => rules);
    expect(given).toEqual(expect.arrayContaining(roles.map(({ rules }) => rules)));
    expect(given).toHaveLength(roles.length);
    expect(objects.find((one) => one.kind === kind && one.metadata.name === 'x-sluice-operator')).toBeDefined();
    const clusterWide = objects.filter((one) => one.kind.startsWith('ClusterRole'));
    expect(clusterWide.length > 0).toBe(kind === 'ClusterRole');
  });
});

describe('a wrong value', () => {
  it.each([
    ['replicas=0', "at '/replicas': minimum: got 0, want 1"],
    ['image.tga=1', "at '/image': additional properties 'tga' not allowed"],
    ['imagee.tag=1', "additional properties 'imagee' not allowed"],
    ['logLevel=loud', "at '/logLevel': value must be one of 'debug', 'info', 'warn', 'error'"],
    ['watchNamespace=Team_A', "at '/watchNamespace': 'Team_A' does not match pattern"],
    ['image.digest=sha256:12', "at '/image/digest': 'sha256:12' does not match pattern"],
    ['resources.limits.memory=lots', "at '/resources/limits/memory': 'lots' does not match pattern"],
    ['tolerations[0].efect=NoSchedule', "at '/tolerations/0': additional properties 'efect' not allowed"],
    ['networkPolicy.apiServerPorts[0]=70000', "at '/networkPolicy/apiServerPorts/0': maximum: got 70,000, want 65,535"],
    ['crds.install=yes', "at '/crds/install': got string, want boolean"],
    ['test.engine=vllm', "at '/test/engine': value must be one of 'sim', 'llamacpp'"],
  ])('%s is refused and named', async (value, says) => {
    await expect(helm.render('x', 'n', '--set', value)).rejects.toThrow(says);
  });

  it('of Kubernetes itself: too old a cluster is told', async () => {
    const { code, stderr } = await helm.run('template', 'x', CHART, '--kube-version', '1.29.9');
    expect([code, stderr]).toEqual([1, expect.stringContaining('chart requires kubeVersion: >=1.30.0-0')]);
  });
});

const HELM_LABELS = ['app.kubernetes.io/version', 'app.kubernetes.io/managed-by', 'helm.sh/chart'];

/** The object without what only a release has. */
function withoutHelm({ metadata, ...rest }: Manifest): Manifest {
  const { labels = {}, annotations = {}, ...other } = metadata;
  const own = Object.entries(labels).filter(([name]) => !HELM_LABELS.includes(name) && name !== 'app.kubernetes.io/instance');
  const notes = Object.entries(annotations).filter(([name]) => name !== 'helm.sh/resource-policy');
  const kept = notes.length === 0 ? {} : { annotations: Object.fromEntries(notes) };
  return { ...rest, apiVersion: rest.apiVersion, kind: rest.kind, metadata: { ...other, labels: Object.fromEntries(own), ...kept } };
}
