/** A deployment under operators that die: what is wanted of it, what there is, and every moment at which there was too much or too little. */
import { LABELS, type Pod } from '../../src/platform/kubernetes/index.ts';
import { Admin } from './admin.ts';
import { isSettled, until } from './bed.ts';
import { LightKubelet } from './lightkubelet.ts';
import type { Listed } from './lightpod.ts';
import { type Fate, Mortal } from './mortal.ts';
import { IMAGE, type Stored } from './operatorbed.ts';

/** Bounds of one component, `prefill` or `router`. */
export interface Bounds {
  /** That can take requests. */
  readonly floor: number;
  /** That are not on their way out. */
  readonly ceiling: number;
}

const DRAINING = 'serving.sluice.dev/draining-since';
const GROUP = '/apis/serving.sluice.dev/v1alpha1';
const WITHIN_MS = 120_000;

export class ChaosBed {
  readonly kubeconfig: string;
  readonly namespace: string;
  readonly admin: Admin;
  readonly violations: string[] = [];
  readonly kubelet: LightKubelet;
  #bounds: Readonly<Record<string, Bounds>> = {};

  private constructor(kubeconfig: string, namespace: string, kubelet: LightKubelet) {
    this.kubeconfig = kubeconfig;
    this.namespace = namespace;
    this.admin = new Admin(kubeconfig);
    this.kubelet = kubelet;
    kubelet.watch(() => this.#check());
  }

  static async open(kubeconfig: string, prefix: string): Promise<ChaosBed> {
    const namespace = await new Admin(kubeconfig).namespace(prefix);
    const told: { list: (instances: readonly Listed[]) => void } = { list: () => {} };
    const kubelet = await LightKubelet.start({ kubeconfig, namespace, onList: (_, instances) => told.list(instances) });
    const bed = new ChaosBed(kubeconfig, namespace, kubelet);
    told.list = (instances) => bed.#checkList(instances);
    return bed;
  }

  /** From now on these hold at every moment. */
  demand(bounds: Readonly<Record<string, Bounds>>): void {
    this.#bounds = bounds;
    this.#check();
  }

  operator(fate: Fate): Promise<Mortal> {
    return Mortal.start({ kubeconfig: this.kubeconfig, namespace: this.namespace, image: IMAGE, fate });
  }

  async put(name: string, spec: object): Promise<Stored> {
    const body = JSON.stringify({ apiVersion: 'serving.sluice.dev/v1alpha1', kind: 'ServingDeployment', metadata: { name }, spec });
    return this.admin.demand('PATCH', `${this.#path(name)}?fieldManager=user&force=true`, {
      body,
      contentType: 'application/apply-patch+yaml',
    });
  }

  async exists(name: string): Promise<boolean> {
    return (await this.admin.request('GET', this.#path(name))).status === 200;
  }

  remove(name: string): Promise<unknown> {
    return this.admin.demand('DELETE', this.#path(name));
  }

  async isSettled(name: string): Promise<boolean> {
    return isSettled(await this.admin.demand<Stored>('GET', this.#path(name)));
  }

  /** Until it is settled, which is true, or `over` holds. */
  async settled(name: string, describe: () => string, over: () => boolean = () => false): Promise<boolean> {
    const all = () => `${this.kubelet.pods().map(describePod).join('; ')}\n${describe()}`;
    let settled = false;
    const isDone = async () => {
      if (over()) return true;
      settled = await this.isSettled(name);
      return settled;
    };
    await until(isDone, all, WITHIN_MS);
    return settled;
  }

  /** What is left of a deployment that was removed: the collector of garbage does not run here. */
  async clear(name: string): Promise<void> {
    this.demand({});
    this.violations.length = 0;
    if (await this.exists(name)) await this.remove(name);
    const selector = encodeURIComponent(`${LABELS.deployment}=${name}`);
    const folders = [`/api/v1/namespaces/${this.namespace}/pods`, `${GROUP}/namespaces/${this.namespace}/servingpools`];
    for (const folder of folders) await this.admin.demand('DELETE', `${folder}?labelSelector=${selector}`);
    await until(
      () => this.kubelet.pods().length === 0,
      () => this.kubelet.pods().map(describePod).join('; '),
    );
  }

  async close(): Promise<void> {
    await this.kubelet.stop();
  }

  #path(name: string): string {
    return `${GROUP}/namespaces/${this.namespace}/servingdeployments/${name}`;
  }

  #check(): void {
    const pods = this.kubelet.pods();
    for (const [component, { floor, ceiling }] of Object.entries(this.#bounds)) {
      const staying = pods.filter((pod) => componentOf(pod) === component && isStaying(pod));
      const usable = staying.filter(isUsable).length;
      const seen = () => pods.map(describePod).join('; ');
      if (staying.length > ceiling)
        this.violations.push(`${staying.length} ${component} pods stay, at most ${ceiling} expected: ${seen()}`);
      if (usable < floor) this.violations.push(`${usable} ${component} pods can take requests, at least ${floor} expected: ${seen()}`);
    }
  }

  #checkList(instances: readonly Listed[]): void {
    for (const [component, { floor }] of Object.entries(this.#bounds)) {
      if (component === 'router') continue;
      const given = instances.filter(({ role, draining }) => role === component && !draining).length;
      if (given < floor) this.violations.push(`a router was told of ${given} ${component} instances, at least ${floor} expected`);
    }
  }
}

function componentOf(pod: Pod): string {
  return pod.metadata.labels?.[LABELS.component] ?? '';
}

/** Neither told to drain nor to end. */
export function isStaying({ metadata }: Pod): boolean {
  return metadata.deletionTimestamp === undefined && metadata.annotations?.[DRAINING] === undefined;
}

export function isUsable({ status }: Pod): boolean {
  return status?.conditions?.some(({ type, status: word }) => type === 'Ready' && word === 'True') ?? false;
}

export function describePod(pod: Pod): string {
  const { name, deletionTimestamp, annotations } = pod.metadata;
  const marks = [isUsable(pod) && 'ready', annotations?.[DRAINING] && 'draining', deletionTimestamp && 'ending'];
  return `${name} ${marks.filter(Boolean).join(',')}`;
}
