/**
 * All pods of all ServingDeployments, behind one watch, and what was learned of them; a platform for one deployment is a cheap view of it.
 *
 * Invariants
 * - Looking takes no request to the API server, and ends within a bounded time whatever pods answer.
 * - Our own writes are seen at once, before the watch shows them.
 * - The generation of lists that routers get grows over restarts and changes of the leader: routers take no older list.
 */
import type { Clock } from '../../shared/index.ts';
import type { Platform, Role } from '../port.ts';
import { PODS, type Pod } from './builtin.ts';
import type { KubernetesClient, Scope } from './client.ts';
import { ANNOTATIONS, LABELS, MANAGED } from './labels.ts';
import { type OwnerReference, objectKey } from './object.ts';
import { KubernetesPlatform } from './platform.ts';
import { PORTS } from './pods/container.ts';
import { Hellos } from './pods/hellos.ts';
import { isOwned } from './pods/ownership.ts';
import { PendingWrites } from './pods/pending.ts';
import { isRouter, lifeOf, urlOf } from './pods/read.ts';
import { Reflector, type ReflectorNotice, type ReflectorState } from './watch/reflector.ts';

/** The ServingDeployment whose pods a platform starts and sees. */
export interface FleetOwner {
  readonly namespace: string;
  readonly name: string;
  /** Owns routers. */
  readonly deployment: OwnerReference;
  /** ServingPools: each owns the instances of its role. */
  readonly pools: Partial<Readonly<Record<Role, OwnerReference>>>;
}

export interface FleetOptions {
  readonly client: KubernetesClient;
  /** Which namespace; its label selector is that of our pods. */
  readonly scope: Scope;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random?: () => number;
  readonly notice?: (notice: ReflectorNotice) => void;
  /** Whether this process may still change anything. What goes to the API server has a guard of its own; what routers are told has this one. */
  readonly leads: () => boolean;
  /** Longest time that a pod may take to answer, in ms. Default 2,000. */
  readonly answerMs?: number;
}

const ANSWER_MS = 2_000;
/** A name that others hold is looked at again after that. */
const TAKEN_MS = 60_000;

export class PodFleet {
  readonly client: KubernetesClient;
  readonly clock: Clock;
  readonly answerMs: number;
  readonly leads: () => boolean;
  readonly pods: PendingWrites;
  readonly hellos: Hellos;
  readonly #reflector: Reflector<Pod>;
  readonly #listeners = new Set<(key: string) => void>();
  /** Keys of the deployments by key of the pod, to tell of a pod that is gone; and when we first saw that the pod drains. */
  readonly #deployments = new Map<string, { readonly key: string; readonly uid: string; readonly drainSeenMs: number | null }>();
  readonly #byDeployment = new Map<string, Set<string>>();
  /** Keys of pods of others under names of ours, and until when that is believed. */
  readonly #taken = new Map<string, number>();
  #generation = 0;
  #unsubscribe = () => {};

  constructor(options: FleetOptions) {
    const { client, scope, clock, random = Math.random, notice, leads, answerMs = ANSWER_MS } = options;
    this.client = client;
    this.clock = clock;
    this.answerMs = answerMs;
    this.leads = leads;
    const labelSelector = [scope.labelSelector, MANAGED].filter((part) => part !== undefined).join(',');
    this.#reflector = new Reflector({
      client,
      resource: PODS,
      scope: { ...scope, labelSelector },
      clock,
      random,
      ...(notice === undefined ? {} : { notice }),
    });
    this.pods = new PendingWrites(this.#reflector.store, clock);
    this.hellos = new Hellos({ clock, random, timeoutMs: answerMs, onNews: (pod) => this.#tell(deploymentKey(pod)) });
  }

  start(): void {
    this.#unsubscribe = this.#reflector.store.subscribe((key) => this.#changed(key));
    this.#reflector.start();
  }

  /** Resolves to true when all pods are known, to false when it is stopped before. */
  synced(): Promise<boolean> {
    return this.#reflector.synced();
  }

  async stop(): Promise<void> {
    this.#unsubscribe();
    this.hellos.close();
    await this.#reflector.stop();
  }

  state(): ReflectorState {
    return this.#reflector.state();
  }

  /** Calls back with `namespace/name` of the ServingDeployment whenever one of its pods changed, or something was learned of one. */
  subscribe(listener: (key: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  platform(owner: FleetOwner): Platform {
    return new KubernetesPlatform(this, owner);
  }

  /** Pods that carry the name of that deployment, whoever owns them. */
  podsOf(namespace: string, deployment: string): Pod[] {
    const keys = this.#byDeployment.get(`${namespace}/${deployment}`) ?? [];
    return [...keys].map((key) => this.pods.get(key)).filter((pod) => pod !== undefined);
  }

  /** Where its routers are looked after, of those that run. */
  routerAdmins(owner: FleetOwner): string[] {
    const routers = this.podsOf(owner.namespace, owner.name).filter((pod) => isRouter(pod) && isOwned(pod, owner));
    return routers.flatMap((pod) => (lifeOf(pod) === null ? [] : (urlOf(pod, PORTS.routerAdmin) ?? [])));
  }

  /** When this process first saw the mark that the pod drains, in monotonic ms; null = it has not. */
  drainSeenMs(pod: Pod): number | null {
    return this.#deployments.get(objectKey(pod.metadata))?.drainSeenMs ?? null;
  }

  /** Notes a pod that we have just written, so that the next look sees it. */
  wrote(pod: Pod): void {
    this.pods.wrote(pod);
    this.#index(objectKey(pod.metadata), pod);
  }

  /** Notes that a pod was told to go. */
  deleted(pod: Pod): void {
    this.pods.deleted(pod);
  }

  /** Notes that a pod of somebody else has this key. */
  markTaken(key: string): void {
    this.#taken.set(key, this.clock.now() + TAKEN_MS);
  }

  takenKeys(prefix: string): string[] {
    const nowMs = this.clock.now();
    for (const [key, untilMs] of this.#taken) if (untilMs <= nowMs) this.#taken.delete(key);
    return [...this.#taken.keys()].filter((key) => key.startsWith(prefix));
  }

  /** Higher than every one before, and than `known`: of ours by time, so that it grows over restarts too. */
  nextGeneration(known: number): number {
    this.#generation = Math.max(this.#generation + 1, known + 1, Math.floor(this.clock.wall()));
    return this.#generation;
  }

  #changed(key: string): void {
    this.pods.told(key);
    const pod = this.pods.get(key);
    const before = this.#deployments.get(key);
    if (before !== undefined && before.uid !== pod?.metadata.uid) this.hellos.forget(before.uid);
    this.#index(key, pod);
    if (pod !== undefined && !isRouter(pod)) void this.hellos.ask(pod);
    const after = this.#deployments.get(key)?.key;
    this.#tell(before?.key);
    if (after !== before?.key) this.#tell(after);
  }

  #index(key: string, pod: Pod | undefined): void {
    const before = this.#deployments.get(key)?.key;
    const after = pod === undefined ? undefined : deploymentKey(pod);
    if (before !== undefined && before !== after) {
      const keys = this.#byDeployment.get(before);
      keys?.delete(key);
      if (keys?.size === 0) this.#byDeployment.delete(before);
    }
    if (pod === undefined || after === undefined) {
      this.#deployments.delete(key);
      return;
    }
    const { uid, annotations = {} } = pod.metadata;
    const known = this.#deployments.get(key);
    const seenMs = known?.uid === uid ? known.drainSeenMs : null;
    const drainSeenMs = annotations[ANNOTATIONS.drainingSince] === undefined ? null : (seenMs ?? this.clock.now());
    this.#deployments.set(key, { key: after, uid, drainSeenMs });
    const keys = this.#byDeployment.get(after) ?? new Set();
    this.#byDeployment.set(after, keys.add(key));
  }

  #tell(key: string | undefined): void {
    if (key === undefined) return;
    for (const listener of this.#listeners) listener(key);
  }
}

function deploymentKey({ metadata }: Pod): string | undefined {
  const name = metadata.labels?.[LABELS.deployment];
  return name === undefined ? undefined : objectKey({ namespace: metadata.namespace ?? '', name });
}
