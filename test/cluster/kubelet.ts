/**
 * A small kubelet for tests that runs the containers of pods as processes of this machine. It is a simulator: a real node needs root, a
 * container runtime, images and minutes, and what an operator has to live with of a node is what stands in the status of its pods.
 * What is told there is true of a real process that listens, answers probes, crashes, is restarted with a growing pause, gets SIGTERM and
 * then SIGKILL. It is also the scheduler: it binds pods to its one Node.
 *
 * What differs from a real one
 * - A pod has one container; there are no images, namespaces, limits, security contexts; volumes are emptyDirs, and their paths are
 *   replaced in arguments and environment.
 * - Pod addresses are loopback addresses of Linux (127.x.y.z), so that every pod has all ports for itself without any set-up; `::` as an
 *   argument, every address of the pod, is that one.
 * - `speed` makes periods of probes and pauses after crashes shorter.
 */
import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type KubernetesClient, PODS, type Pod, Reflector } from '../../src/platform/kubernetes/index.ts';
import { type Clock, sleep, systemClock } from '../../src/shared/index.ts';
import type { Admin } from './admin.ts';
import { PodRun } from './kubeletpod.ts';
import { type LoopbackPart, takeLoopbackPart } from './loopback.ts';

export interface KubeletOptions {
  /** With the rights of a cluster's admin: a kubelet writes what others may not. */
  readonly admin: Admin;
  readonly client: KubernetesClient;
  /** Only pods of this namespace. */
  readonly namespace: string;
  /** Programs that images have on their PATH, and how they are run here: `{ sluice: [process.execPath, main] }`. */
  readonly programs: Readonly<Record<string, readonly string[]>>;
  /** Default 1: as long as on a node. */
  readonly speed?: number;
  /** Resources besides cpu and memory that the Node has; pods that ask for others are not scheduled. */
  readonly extended?: Readonly<Record<string, number>>;
  readonly clock?: Clock;
}

export type Match = (pod: Pod) => boolean;

const NOBODY: Match = () => false;
const RETRY_MS = 200;
const WRITE_TRIES = 300;

interface Kept {
  readonly run: PodRun;
  readonly writer: StatusWriter;
  deleting: boolean;
}

export class ProcessKubelet {
  readonly nodeName = `node-${randomUUID().slice(0, 8)}`;
  readonly #options: KubeletOptions;
  readonly #clock: Clock;
  readonly #reflector: Reflector<Pod>;
  readonly #folder = mkdtempSync(join(tmpdir(), 'sluice-kubelet-'));
  readonly #stop = new AbortController();
  readonly #runs = new Map<string, Kept>();
  readonly #binding = new Set<string>();
  readonly #work = new Set<Promise<unknown>>();
  #part: LoopbackPart | null = null;
  #addresses = 1;
  #unschedulable: Match = NOBODY;
  #unpullable: Match = NOBODY;
  #unsubscribe = () => {};

  constructor(options: KubeletOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#reflector = new Reflector({ client: options.client, resource: PODS, scope: { namespace: options.namespace } });
  }

  /** Resolves when it is a Node and sees the pods. */
  async start(): Promise<void> {
    this.#part = await takeLoopbackPart();
    const { admin, extended = {} } = this.#options;
    const quantities = Object.fromEntries(Object.entries(extended).map(([name, count]) => [name, String(count)]));
    const capacity = { cpu: '64', memory: '256Gi', pods: '250', ...quantities };
    await admin.demand('POST', '/api/v1/nodes', { body: { metadata: { name: this.nodeName } } });
    const status = { capacity, allocatable: capacity, conditions: [{ type: 'Ready', status: 'True', reason: 'KubeletReady' }] };
    await admin.demand('PATCH', `/api/v1/nodes/${this.nodeName}/status`, {
      body: { status },
      contentType: 'application/merge-patch+json',
    });
    this.#reflector.start();
    await this.#reflector.synced();
    this.#unsubscribe = this.#reflector.store.subscribe((key) => this.#look(key));
  }

  /** Ends every process at once, and takes the Node and the folder away. Pods stay as they are. */
  async stop(): Promise<void> {
    this.#unsubscribe();
    this.#stop.abort();
    await this.#reflector.stop();
    await Promise.all([...this.#runs.values()].map(({ run }) => run.abandon()));
    await Promise.allSettled(this.#work);
    this.#part?.release();
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 3 });
    await this.#options.admin.request('DELETE', `/api/v1/nodes/${this.nodeName}`).catch(() => {
      // A test may have ended its API server before; its Nodes went with it.
    });
  }

  /** Pods that match stay without a node from now on; those that did and do no more get one. */
  holdScheduling(match: Match | null): void {
    this.#unschedulable = match ?? NOBODY;
    for (const key of this.#reflector.store.keys()) this.#look(key);
  }

  /** Images of pods that match cannot be pulled from now on. */
  failPull(match: Match | null): void {
    this.#unpullable = match ?? NOBODY;
  }

  /** SIGKILL to the process of a pod. Throws when it has none. */
  kill(name: string): void {
    const run = this.#run(name);
    if (run.pid === null) throw new Error(`pod ${name} has no process`);
    run.kill();
  }

  /** The node is short of memory: the pod fails and stays to be seen. */
  evict(name: string): Promise<void> {
    return this.#run(name).fail('Evicted', 'The node was low on resource: memory.');
  }

  /** What its processes wrote, newest last. */
  logs(name: string): string {
    return this.#run(name).log.join('\n');
  }

  /** Process ids by pod of what runs now. */
  processes(): ReadonlyMap<string, number> {
    const pids = [...this.#runs.values()].map(({ run }) => [run.pod.metadata.name, run.pid] as const);
    return new Map(pids.flatMap(([name, pid]) => (pid === null ? [] : [[name, pid]])));
  }

  #run(name: string): PodRun {
    const kept = [...this.#runs.values()].find(({ run }) => run.pod.metadata.name === name);
    if (!kept) throw new Error(`this kubelet runs no pod ${name}`);
    return kept.run;
  }

  #look(key: string): void {
    const pod = this.#reflector.store.get(key);
    for (const [uid, kept] of this.#runs) {
      // Gone, or another one of the same name: somebody deleted it without waiting for us.
      const { name } = kept.run.pod.metadata;
      if (key.endsWith(`/${name}`) && pod?.metadata.uid !== uid) this.#track(this.#forget(uid));
    }
    if (!pod || this.#stop.signal.aborted) return;
    if (pod.spec?.nodeName === undefined) this.#track(this.#schedule(pod));
    else if (pod.spec.nodeName === this.nodeName) this.#keep(pod);
  }

  async #schedule(pod: Pod): Promise<void> {
    const { uid, name } = pod.metadata;
    if (this.#binding.has(uid)) return;
    this.#binding.add(uid);
    try {
      const obstacle = this.#obstacle(pod);
      if (obstacle === null) {
        const target = { apiVersion: 'v1', kind: 'Node', name: this.nodeName };
        await this.#write('POST', `${this.#path(name)}/binding`, { metadata: { name, uid }, target });
      } else if (!pod.status?.conditions?.some(({ type, message }) => type === 'PodScheduled' && message === obstacle)) {
        const condition = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: obstacle };
        await this.#write('PATCH', `${this.#path(name)}/status`, { metadata: { uid }, status: { conditions: [condition] } });
      }
    } finally {
      this.#binding.delete(uid);
    }
  }

  #obstacle(pod: Pod): string | null {
    const { extended = {} } = this.#options;
    const asked = (pod.spec?.containers ?? []).flatMap(({ resources }) => Object.keys({ ...resources?.requests, ...resources?.limits }));
    const lacking = asked.find((name) => name.includes('/') && !(name in extended));
    if (lacking !== undefined) return `0/1 nodes are available: 1 Insufficient ${lacking}.`;
    return this.#unschedulable(pod) ? '0/1 nodes are available: 1 Insufficient cpu.' : null;
  }

  #keep(pod: Pod): void {
    const { uid, deletionTimestamp } = pod.metadata;
    const kept = this.#runs.get(uid) ?? (deletionTimestamp === undefined ? this.#begin(pod) : null);
    if (deletionTimestamp === undefined) return;
    if (kept?.deleting === true) return;
    if (kept) kept.deleting = true;
    this.#track(this.#finish(pod, kept));
  }

  #begin(pod: Pod): Kept | null {
    const { uid, name } = pod.metadata;
    const [container] = pod.spec?.containers ?? [];
    if (!container) return null;
    const folder = join(this.#folder, uid);
    mkdirSync(folder);
    const writer = new StatusWriter((status) => this.#write('PATCH', `${this.#path(name)}/status`, { metadata: { uid }, status }));
    const run = new PodRun({
      pod,
      container,
      place: { podIp: this.#address(), nodeName: this.nodeName, folder, programs: this.#options.programs },
      clock: this.#clock,
      speed: this.#options.speed ?? 1,
      newId: randomUUID,
      pullFailure: () => (this.#unpullable(pod) ? `failed to pull and unpack image "${container.image}": not found` : null),
      report: (status) => writer.put(status),
    });
    const kept = { run, writer, deleting: false };
    this.#runs.set(uid, kept);
    run.start();
    return kept;
  }

  /** The graceful end: the object goes away when the process has. */
  async #finish(pod: Pod, kept: Kept | null): Promise<void> {
    const { uid, name, deletionTimestamp = '' } = pod.metadata;
    const leftMs = Date.parse(deletionTimestamp) - this.#clock.wall();
    await kept?.run.end(Math.max(0, leftMs));
    await kept?.writer.settled();
    const options = { apiVersion: 'v1', kind: 'DeleteOptions', gracePeriodSeconds: 0, preconditions: { uid } };
    await this.#write('DELETE', this.#path(name), options);
    await this.#forget(uid);
  }

  async #forget(uid: string): Promise<void> {
    const kept = this.#runs.get(uid);
    this.#runs.delete(uid);
    await kept?.run.abandon();
    rmSync(join(this.#folder, uid), { recursive: true, force: true, maxRetries: 3 });
  }

  /** Repeats what the API server did not answer, until it is stopped. Refusals are for objects that have changed: the watch tells. */
  async #write(method: string, path: string, body: unknown): Promise<void> {
    const contentType = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
    for (let tries = 0; tries < WRITE_TRIES && !this.#stop.signal.aborted; tries += 1) {
      try {
        const answer = await this.#options.admin.request(method, path, { body, contentType });
        if (answer.status === 422 || answer.status === 400) throw new Refused(`${method} ${path}: ${answer.body}`);
        if (answer.status < 500 && answer.status !== 429) return;
      } catch (error) {
        if (error instanceof Refused) throw error;
      }
      await sleep(this.#clock, RETRY_MS, this.#stop.signal);
    }
  }

  #path(name: string): string {
    return `/api/v1/namespaces/${this.#options.namespace}/pods/${name}`;
  }

  #address(): string {
    this.#addresses = (this.#addresses % 253) + 1;
    return `${this.#part?.network}.0.${this.#addresses}`;
  }

  #track(work: Promise<unknown>): void {
    this.#work.add(work);
    work.finally(() => this.#work.delete(work)).catch((error: unknown) => console.error('kubelet:', error));
  }
}

/** What we sent was wrong. */
class Refused extends Error {}

/** Writes the newest status, one at a time; those that newer ones overtake are never written. */
class StatusWriter {
  readonly #write: (status: Record<string, unknown>) => Promise<void>;
  #next: Record<string, unknown> | null = null;
  #last = '';
  #writing: Promise<void> | null = null;

  constructor(write: (status: Record<string, unknown>) => Promise<void>) {
    this.#write = write;
  }

  put(status: Record<string, unknown>): void {
    this.#next = status;
    this.#writing ??= this.#drain();
  }

  async settled(): Promise<void> {
    await this.#writing;
  }

  async #drain(): Promise<void> {
    // The caller may have more to say in the same turn.
    await Promise.resolve();
    while (this.#next !== null) {
      const status = this.#next;
      this.#next = null;
      const text = JSON.stringify(status);
      if (text === this.#last) continue;
      this.#last = text;
      await this.#write(status).catch((error: unknown) => console.error('kubelet:', error));
    }
    this.#writing = null;
  }
}
