/** The chart as a user installs it, in a namespace that admits restricted pods alone. */
import type { Admin } from '../admin.ts';
import { until } from '../bed.ts';
import { CHART, Helm } from '../chart/helm.ts';
import { describePods, type PodList } from './pods.ts';

export const SYSTEM = 'sluice-system';
export const RESTRICTED = { 'pod-security.kubernetes.io/enforce': 'restricted' };
const OPERATOR = `/apis/apps/v1/namespaces/${SYSTEM}/deployments/sluice-operator`;
const READY_WITHIN_MS = 240_000;

interface Scaled {
  readonly spec: { readonly replicas: number };
  readonly status?: { readonly availableReplicas?: number; readonly updatedReplicas?: number };
}

export class Release {
  readonly admin: Admin;
  readonly helm: Helm;

  private constructor(admin: Admin, helm: Helm) {
    this.admin = admin;
    this.helm = helm;
  }

  /** Resolves when every operator is ready. @param values `--set` of `helm install` */
  static async install(admin: Admin, kubeconfig: string, values: readonly string[] = []): Promise<Release> {
    const release = new Release(admin, new Helm(kubeconfig));
    await Release.namespace(admin);
    await release.helm.demand('install', 'sluice', CHART, '-n', SYSTEM, ...values.flatMap((value) => ['--set', value]));
    await release.ready();
    return release;
  }

  /** Makes it when it is not there. */
  static async namespace(admin: Admin): Promise<void> {
    const made = await admin.request('POST', '/api/v1/namespaces', { body: { metadata: { name: SYSTEM, labels: RESTRICTED } } });
    if (made.status !== 201 && made.status !== 409) throw new Error(made.body);
  }

  async ready(): Promise<void> {
    let said = '';
    await until(
      async () => {
        const { spec, status } = await this.admin.demand<Scaled>('GET', OPERATOR);
        if (status?.availableReplicas === spec.replicas && status.updatedReplicas === spec.replicas) return true;
        said = describePods(await this.admin.demand<PodList>('GET', `/api/v1/namespaces/${SYSTEM}/pods`));
        return false;
      },
      () => `the operator is not ready:\n${said}`,
      READY_WITHIN_MS,
    );
  }

  /** The last lines of every operator. */
  async log(): Promise<string> {
    const { items } = await this.admin.demand<PodList>('GET', `/api/v1/namespaces/${SYSTEM}/pods`);
    const logs = items.map(async ({ metadata: { name } }) => {
      const { body } = await this.admin.request('GET', `/api/v1/namespaces/${SYSTEM}/pods/${name}/log?tailLines=30`);
      return `${name}:\n${body}`;
    });
    return (await Promise.all(logs)).join('\n');
  }

  async uninstall(): Promise<void> {
    await this.helm.demand('uninstall', 'sluice', '-n', SYSTEM, '--wait', '--timeout', '2m');
  }

  /** As `uninstall`, whatever a test left. */
  async close(): Promise<void> {
    await this.helm.run('uninstall', 'sluice', '-n', SYSTEM, '--wait', '--timeout', '2m');
    this.helm.close();
  }
}
