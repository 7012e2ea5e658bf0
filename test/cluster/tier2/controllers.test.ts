/** The controllers and the scheduler of Kubernetes: what they do with our objects without a kubelet. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Admin } from '../admin.ts';
import { startCluster, type TestCluster } from '../apiserver.ts';
import { until } from '../bed.ts';
import { requireProgram } from '../binaries.ts';

interface Pods {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly deletionTimestamp?: string };
    readonly spec: { readonly nodeName?: string };
  }[];
}

const run = promisify(execFile);
const CRDS = fileURLToPath(new URL('../../../crds/', import.meta.url));

describe('a control plane with controllers', () => {
  let cluster: TestCluster;
  let admin: Admin;
  let namespace = '';
  beforeAll(async () => {
    cluster = await startCluster({ tier: 2 });
    admin = cluster.admin;
    namespace = await admin.namespace('tier2');
  });
  afterAll(() => cluster.stop());

  const kubectl = async (...args: readonly string[]) => {
    const { stdout } = await run(requireProgram('kubectl', process.env), ['--kubeconfig', cluster.kubeconfig, '-n', namespace, ...args]);
    return stdout;
  };
  const pods = () => admin.demand<Pods>('GET', `/api/v1/namespaces/${namespace}/pods`);

  it('makes pods of a Deployment, gives them a node, and takes them away with it', async () => {
    const capacity = { cpu: '8', memory: '16Gi', pods: '110' };
    const ready = {
      type: 'Ready',
      status: 'True',
      reason: 'Test',
      message: 'by the test',
      lastHeartbeatTime: new Date(),
      lastTransitionTime: new Date(),
    };
    await admin.demand('POST', '/api/v1/nodes', { body: { metadata: { name: 'node-a' } } });
    const status = {
      body: { status: { capacity, allocatable: capacity, conditions: [ready] } },
      contentType: 'application/merge-patch+json',
    };
    await admin.demand('PATCH', '/api/v1/nodes/node-a/status', status);
    const labels = { app: 'x' };
    const template = { metadata: { labels }, spec: { containers: [{ name: 'c', image: 'i' }] } };
    const body = { metadata: { name: 'x' }, spec: { replicas: 3, selector: { matchLabels: labels }, template } };
    const deployments = `/apis/apps/v1/namespaces/${namespace}/deployments`;
    await admin.demand('POST', deployments, { body });
    await until(
      async () => (await pods()).items.filter(({ spec }) => spec.nodeName === 'node-a').length === 3,
      () => 'not three pods on the node',
    );
    await admin.demand('DELETE', `${deployments}/x`);
    // Nobody confirms the end of a pod that has a node: there is no kubelet.
    await until(
      async () => (await pods()).items.every(({ metadata }) => metadata.deletionTimestamp !== undefined),
      () => 'the pods stay',
    );
  });

  it('takes our CRDs from kubectl, which shows, explains and scales by them', async () => {
    expect(await kubectl('apply', '--server-side', '-f', CRDS)).toMatch(/servingdeployments.serving.sluice.dev serverside-applied/);
    await kubectl('wait', '--for=condition=Established', '--timeout=20s', '-f', CRDS);
    const pool = {
      apiVersion: 'serving.sluice.dev/v1alpha1',
      kind: 'ServingPool',
      metadata: { name: 'p', namespace },
      spec: { role: 'decode', replicas: 1, instance: { revision: 'a', family: 'b', model: { name: 'm' }, engine: { type: 'sim' } } },
    };
    await admin.demand('POST', `/apis/serving.sluice.dev/v1alpha1/namespaces/${namespace}/servingpools`, { body: pool });
    await until(
      () =>
        kubectl('scale', 'servingpool/p', '--replicas=4').then(
          () => true,
          () => false,
        ),
      () => 'kubectl does not scale',
    );
    expect(await kubectl('get', 'sp')).toMatch(/NAME +ROLE +DESIRED +READY +AGE\np +decode +4 /);
    expect(await kubectl('get', 'sd')).toBe('');
    expect(await kubectl('explain', 'sd.spec.model')).toMatch(/The model|FIELDS/);
  });
});
