/**
 * A kubelet for tests with very many pods: it binds them to a Node that is only a name, says that they run, and answers the operator for
 * them in this process. A pod is there some milliseconds after it was made; its end takes as long as the test wants.
 */
import { randomUUID } from 'node:crypto';
import { connect, KubernetesClient, PODS, type Pod, Reflector, type Transport } from '../../src/platform/kubernetes/index.ts';
import { sleep, systemClock } from '../../src/shared/index.ts';
import { podStatus } from './kubeletstatus.ts';
import { LightPod, type Listed } from './lightpod.ts';
import { type LoopbackPart, takeLoopbackPart } from './loopback.ts';

export interface LightKubeletOptions {
  /** Of an admin. */
  readonly kubeconfig: string;
  /** Only pods of this namespace; null = all. */
  readonly namespace: string | null;
  /** Told of every list that a router took. */
  readonly onList?: (router: Pod, instances: readonly Listed[]) => void;
}

type Method = Parameters<Transport['send']>[0]['method'];

const RETRY_MS = 200;
const ANSWER_WITHIN_MS = 10_000;
const WRITE_TRIES = 600;

export class LightKubelet {
  readonly #options: LightKubeletOptions;
  readonly #transport: Transport;
  readonly #reflector: Reflector<Pod>;
  readonly #nodeName = `light-${randomUUID().slice(0, 8)}`;
  readonly #part: LoopbackPart;
  readonly #stop = new AbortController();
  readonly #pods = new Map<string, LightPod>();
  /** By uid of the pod. */
  readonly #working = new Map<string, Promise<void>>();
  readonly #started = new Date().toISOString();
  #addresses = 0;

  private constructor(options: LightKubeletOptions, transport: Transport, part: LoopbackPart) {
    this.#options = options;
    this.#part = part;
    this.#transport = transport;
    const client = new KubernetesClient({ transport, fieldManager: 'kubelet' });
    const scope = options.namespace === null ? {} : { namespace: options.namespace };
    this.#reflector = new Reflector({ client, resource: PODS, scope });
  }

  static async start(options: LightKubeletOptions): Promise<LightKubelet> {
    const { transport } = await connect({ kind: 'kubeconfig', path: options.kubeconfig }, 'kubelet');
    const kubelet = new LightKubelet(options, transport, await takeLoopbackPart());
    kubelet.#reflector.start();
    await kubelet.#reflector.synced();
    kubelet.#reflector.store.subscribe((key) => kubelet.#look(key));
    return kubelet;
  }

  /** Pods as it sees them now. */
  pods(): Pod[] {
    return [...this.#reflector.store.values()];
  }

  /** Calls back after every change of a pod. */
  watch(changed: (pod: Pod | undefined) => void): void {
    this.#reflector.store.subscribe((key) => changed(this.#reflector.store.get(key)));
  }

  /** Pods stay as they are. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#reflector.stop();
    for (const pod of this.#pods.values()) pod.close();
    await Promise.all(this.#working.values());
    this.#part.release();
    this.#transport.close();
  }

  #look(key: string): void {
    const pod = this.#reflector.store.get(key);
    const light = this.#pods.get(key);
    if (light !== undefined && light.uid !== pod?.metadata.uid) {
      light.close();
      this.#pods.delete(key);
    }
    if (!pod || this.#stop.signal.aborted) return;
    if (pod.metadata.deletionTimestamp !== undefined) this.#do(pod, () => this.#end(key, pod));
    else if (!this.#pods.has(key)) this.#begin(key, pod);
  }

  #begin(key: string, pod: Pod): void {
    const onList = (instances: readonly Listed[]) => {
      this.#options.onList?.(pod, instances);
      this.#do(pod, () => this.#report(pod, light));
    };
    this.#addresses += 1;
    const address = `${this.#part.network}.${this.#addresses >> 8}.${this.#addresses & 255}`;
    const light = new LightPod({ pod, address, onList });
    this.#pods.set(key, light);
    this.#do(pod, async () => {
      await light.listen();
      const target = { apiVersion: 'v1', kind: 'Node', name: this.#nodeName };
      const { name, uid } = pod.metadata;
      await this.#write('POST', `${pathOf(pod)}/binding`, { apiVersion: 'v1', kind: 'Binding', metadata: { name, uid }, target });
      await this.#report(pod, light);
    });
  }

  async #report(pod: Pod, light: LightPod): Promise<void> {
    const [container] = pod.spec?.containers ?? [];
    if (container === undefined) return;
    const { uid, creationTimestamp } = pod.metadata;
    const startedAt = creationTimestamp ?? this.#started;
    const { name, image = '' } = container;
    const status = podStatus({
      podIp: light.address,
      startTime: startedAt,
      restartPolicy: 'Always',
      failed: null,
      container: {
        name,
        image,
        containerID: `light://${uid}`,
        restarts: 0,
        started: true,
        ready: light.isReady(),
        state: { kind: 'running', startedAt },
        last: null,
      },
    });
    const text = JSON.stringify(status);
    if (light.reported === text) return;
    light.reported = text;
    await this.#write('PATCH', `${pathOf(pod)}/status`, { metadata: { uid }, status });
  }

  async #end(key: string, pod: Pod): Promise<void> {
    const { uid } = pod.metadata;
    const light = this.#pods.get(key);
    if (light?.uid === uid) light.close();
    const options = { apiVersion: 'v1', kind: 'DeleteOptions', gracePeriodSeconds: 0, preconditions: { uid } };
    await this.#write('DELETE', pathOf(pod), options);
  }

  /** One pod's work is done in order. */
  #do(pod: Pod, work: () => Promise<void>): void {
    const { uid } = pod.metadata;
    const done = (this.#working.get(uid) ?? Promise.resolve()).then(work).catch((error: unknown) => console.error('light kubelet:', error));
    this.#working.set(uid, done);
    void done.then(() => {
      if (this.#working.get(uid) === done) this.#working.delete(uid);
    });
  }

  /** Repeats what the API server did not answer. Refusals are for objects that have changed: the watch tells. */
  async #write(method: Method, path: string, body: object): Promise<void> {
    const contentType = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
    for (let tries = 0; tries < WRITE_TRIES && !this.#stop.signal.aborted; tries += 1) {
      try {
        const signal = AbortSignal.any([AbortSignal.timeout(ANSWER_WITHIN_MS), this.#stop.signal]);
        const answer = await this.#transport.send({ method, path, contentType, body: JSON.stringify(body), signal });
        let text = '';
        for await (const part of answer.body) text += Buffer.from(part).toString('utf8');
        if (answer.status < 300 || answer.status === 404 || answer.status === 409) return;
        if (answer.status < 500 && answer.status !== 429) throw new Refused(`${method} ${path}: ${text}`);
      } catch (error) {
        if (error instanceof Refused) throw error;
      }
      await sleep(systemClock, RETRY_MS, this.#stop.signal);
    }
  }
}

/** What we sent was wrong. */
class Refused extends Error {}

function pathOf({ metadata: { name, namespace } }: Pod): string {
  return `/api/v1/namespaces/${namespace}/pods/${name}`;
}
