/** What the operator is measured on: a real API server, an operator process as users run it, and pods that are there without running. */
import { readFileSync } from 'node:fs';
import { type DeploymentObject, SERVING_DEPLOYMENTS } from '../../src/controller/operator/index.ts';
import { connect, KubernetesClient, LABELS, Reflector } from '../../src/platform/kubernetes/index.ts';
import { startCluster, type TestCluster } from '../cluster/apiserver.ts';
import { type Asked, Audit } from '../cluster/audit.ts';
import { isSettled } from '../cluster/bed.ts';
import { LightKubelet } from '../cluster/lightkubelet.ts';
import { installCrds, OperatorProcess } from '../cluster/operatorbed.ts';

/** Pods of one deployment: a prefill and a decode instance, and a router. */
export const PODS_EACH = 3;
const ACCOUNT = 'operator';
const NAMESPACE = 'default';
const APPLIERS = 16;
/** Every deployment has a Service, and every Service an address. */
const SERVICE_RANGE = '--service-cluster-ip-range=10.0.0.0/16';

export interface Applied {
  /** Ms from the request that makes a deployment until the last of its pods is seen, by deployment. */
  readonly podsMs: readonly number[];
  /** Ms from the first request until every deployment is ready and at rest. */
  readonly settledMs: number;
}

export class OperatorScene {
  readonly operator: OperatorProcess;
  readonly #cluster: TestCluster;
  readonly #audit: Audit;
  readonly #kubelet: LightKubelet;
  readonly #client: KubernetesClient;
  readonly #deployments: Reflector<DeploymentObject>;
  readonly #close: () => void;

  private constructor(parts: Parts) {
    this.#cluster = parts.cluster;
    this.#audit = parts.audit;
    this.#kubelet = parts.kubelet;
    this.operator = parts.operator;
    this.#client = new KubernetesClient({ transport: parts.transport, fieldManager: 'user' });
    this.#deployments = new Reflector({ client: this.#client, resource: SERVING_DEPLOYMENTS });
    this.#deployments.start();
    this.#close = () => parts.transport.close();
  }

  static async start(): Promise<OperatorScene> {
    const audit = new Audit();
    const cluster = await startCluster({ flags: [...audit.flags(`system:serviceaccount:${NAMESPACE}:${ACCOUNT}`), SERVICE_RANGE] });
    await installCrds(cluster.admin);
    const kubelet = await LightKubelet.start({ kubeconfig: cluster.kubeconfig, namespace: null });
    const kubeconfig = await cluster.admin.serviceAccount(NAMESPACE, ACCOUNT);
    const body = {
      metadata: { name: ACCOUNT },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
      subjects: [{ kind: 'ServiceAccount', name: ACCOUNT, namespace: NAMESPACE }],
    };
    await cluster.admin.demand('POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', { body });
    const place = ['--lease-namespace', NAMESPACE, '--operators-from', '127.0.0.0/8', '--health-port', '0'];
    const operator = new OperatorProcess(['--kubeconfig', kubeconfig, '--image', 'sluice:bench', ...place], shippedOptions());
    const { transport } = await connect({ kind: 'kubeconfig', path: cluster.kubeconfig }, 'sluice-bench');
    return new OperatorScene({ cluster, audit, kubelet, operator, transport });
  }

  /** Makes `count` deployments, as fast as they are taken. */
  async apply(count: number, onProgress: (text: string) => void): Promise<Applied> {
    const namespace = await this.#cluster.admin.namespace('bench');
    const begun = new Map<string, number>();
    const seen = new Map<string, Set<string>>();
    const podsMs: number[] = [];
    this.#kubelet.watch((pod) => {
      if (pod?.metadata.namespace !== namespace) return;
      const name = pod.metadata.labels?.[LABELS.deployment] ?? '';
      const pods = seen.get(name) ?? new Set();
      seen.set(name, pods);
      if (pods.has(pod.metadata.name)) return;
      pods.add(pod.metadata.name);
      if (pods.size === PODS_EACH) podsMs.push(performance.now() - (begun.get(name) ?? Number.NaN));
    });
    const startMs = performance.now();
    let next = 0;
    const applyAll = async () => {
      while (next < count) {
        const name = `sd-${next}`;
        next += 1;
        begun.set(name, performance.now());
        const spec = { model: { name: 'simulated' }, engine: { type: 'sim' }, prefill: { replicas: 1 }, decode: { replicas: 1 } };
        const made = await this.#client.apply(SERVING_DEPLOYMENTS, { metadata: { name, namespace }, spec });
        if (made.kind !== 'written') throw new Error(`${name}: ${JSON.stringify(made)}`);
      }
    };
    await Promise.all(Array.from({ length: APPLIERS }, applyAll));
    const left = () =>
      [...this.#deployments.store.values()].filter((one) => one.metadata.namespace === namespace && !isSettled(one)).length;
    await this.#wait(
      () => podsMs.length === count && left() === 0,
      () => onProgress(`${count} deployments: ${podsMs.length} have pods, ${left()} are not settled`),
    );
    return { podsMs, settledMs: performance.now() - startMs };
  }

  /** Every request of the operator so far. */
  requests(): Asked[] {
    return this.#audit.requests([ACCOUNT]);
  }

  /** A figure of its /metrics; all label values added up. */
  async metric(name: string): Promise<number> {
    const { url } = await this.operator.said('listens');
    const text = await (await fetch(`${String(url)}/metrics`)).text();
    const lines = text.split('\n').filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
    return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
  }

  async stop(): Promise<void> {
    await this.operator.end('SIGKILL');
    await this.#deployments.stop();
    await this.#kubelet.stop();
    this.#close();
    await this.#cluster.stop();
    this.#audit.remove();
  }

  async #wait(holds: () => boolean, onProgress: () => void): Promise<void> {
    const deadline = performance.now() + WITHIN_MS;
    for (let turn = 0; !holds(); turn += 1) {
      if (performance.now() > deadline) throw new Error(`not within ${WITHIN_MS} ms: ${this.operator.stderr().slice(-2_000)}`);
      if (turn % 100 === 0) onProgress();
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }
}

/** Of Node, as the operator is installed with. */
function shippedOptions(): Readonly<Record<string, string>> {
  const text = readFileSync(new URL('../../manifests/operator/deployment.yaml', import.meta.url), 'utf8');
  const [, options] = /name: NODE_OPTIONS\n +value: (.+)/.exec(text) ?? [];
  if (options === undefined) throw new Error('manifests/operator/deployment.yaml sets no NODE_OPTIONS');
  return { NODE_OPTIONS: options };
}

interface Parts {
  readonly cluster: TestCluster;
  readonly audit: Audit;
  readonly kubelet: LightKubelet;
  readonly operator: OperatorProcess;
  readonly transport: Awaited<ReturnType<typeof connect>>['transport'];
}

const WITHIN_MS = 1_800_000;
const POLL_MS = 50;
