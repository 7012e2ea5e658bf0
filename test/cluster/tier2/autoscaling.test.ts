/** A HorizontalPodAutoscaler on a role, with the real controller: it scales the ServingPool, and the operator follows. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { startCluster, type TestCluster } from '../apiserver.ts';
import { until } from '../bed.ts';
import { LightKubelet } from '../lightkubelet.ts';
import { installCrds, OperatorProcess } from '../operatorbed.ts';

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: object;
}

interface Scale {
  readonly spec: { readonly replicas: number };
  readonly status: { readonly replicas: number; readonly selector: string };
}

interface Autoscaler {
  readonly status?: {
    readonly desiredReplicas?: number;
    readonly currentReplicas?: number;
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message: string }[];
  };
}

const SAMPLE = new URL('../../../manifests/samples/kubernetes/autoscaled.yaml', import.meta.url);
const PLURALS: Readonly<Record<string, string>> = {
  ServingDeployment: 'servingdeployments',
  HorizontalPodAutoscaler: 'horizontalpodautoscalers',
};
const WITHIN_MS = 120_000;

describe('a HorizontalPodAutoscaler on a role', { timeout: 300_000 }, () => {
  let cluster: TestCluster;
  let kubelet: LightKubelet;
  let operator: OperatorProcess;
  let namespace = '';
  beforeAll(async () => {
    cluster = await startCluster({ tier: 2 });
    await installCrds(cluster.admin);
    namespace = await cluster.admin.namespace('autoscaled');
    kubelet = await LightKubelet.start({ kubeconfig: cluster.kubeconfig, namespace });
    const place = ['--namespace', namespace, '--lease-namespace', namespace, '--health-port', '0'];
    operator = new OperatorProcess(['--kubeconfig', cluster.kubeconfig, '--image', 'sluice:test', ...place]);
    await operator.said('leads');
  }, 240_000);
  afterAll(async () => {
    await operator?.end('SIGKILL');
    await kubelet?.stop();
    await cluster.stop();
  });

  const pathOf = ({ apiVersion, kind, metadata }: Manifest) =>
    `/apis/${apiVersion}/namespaces/${namespace}/${PLURALS[kind]}/${metadata.name}`;

  async function apply(manifest: Manifest): Promise<void> {
    const body = JSON.stringify(manifest);
    await cluster.admin.demand('PATCH', `${pathOf(manifest)}?fieldManager=user&force=true`, {
      body,
      contentType: 'application/apply-patch+yaml',
    });
  }

  const scale = () =>
    cluster.admin.demand<Scale>('GET', `/apis/serving.sluice.dev/v1alpha1/namespaces/${namespace}/servingpools/autoscaled-decode/scale`);
  const decodePods = () =>
    kubelet.pods().filter(({ metadata }) => metadata.labels?.['app.kubernetes.io/component'] === 'decode' && !metadata.deletionTimestamp);

  it('is followed up and down, and keeps its word when the deployment is applied again', async () => {
    const [deployment, autoscaler] = parseAllDocuments(readFileSync(SAMPLE, 'utf8')).map((one): Manifest => one.toJS());
    if (!deployment || !autoscaler) throw new Error('the sample has two documents');
    await apply(deployment);
    await until(
      () => decodePods().length === 1,
      () => operator.stderr().slice(-2_000),
      WITHIN_MS,
    );
    await apply(autoscaler);
    const told = async () => (await cluster.admin.demand<Autoscaler>('GET', pathOf(autoscaler))).status;
    // Without metrics an autoscaler still keeps to its bounds: 2 at least.
    await until(
      () => decodePods().length === 2,
      () => operator.stderr().slice(-2_000),
      WITHIN_MS,
    );
    expect(await scale()).toMatchObject({
      spec: { replicas: 2 },
      status: { selector: 'serving.sluice.dev/deployment=autoscaled,app.kubernetes.io/component=decode' },
    });
    await until(
      async () => (await told())?.currentReplicas === 2,
      () => 'the autoscaler does not see the pool',
      WITHIN_MS,
    );
    const able = (await told())?.conditions?.find(({ type }) => type === 'AbleToScale');
    expect(able?.status, able?.message).toBe('True');

    // The file that the user keeps says 1, and is applied again with another change.
    await apply({ ...deployment, spec: { ...deployment.spec, slo: { ttft: { p99: '2s' } } } });
    await apply({ ...autoscaler, spec: { ...autoscaler.spec, minReplicas: 3 } });
    await until(
      () => decodePods().length === 3,
      () => operator.stderr().slice(-2_000),
      WITHIN_MS,
    );
    await apply({ ...autoscaler, spec: { ...autoscaler.spec, minReplicas: 1, maxReplicas: 2 } });
    await until(
      () => decodePods().length === 2,
      () => operator.stderr().slice(-2_000),
      WITHIN_MS,
    );
    expect((await scale()).spec.replicas).toBe(2);
  });
});
