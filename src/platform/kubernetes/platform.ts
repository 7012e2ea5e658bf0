/** The Kubernetes platform for one ServingDeployment: instances and routers are pods that the operator owns directly. */
import { publish, type RoutedList, readRoutedInstances } from '../admin.ts';
import type { Observed, Outcome, Platform, Step } from '../port.ts';
import { PODS, type Pod } from './builtin.ts';
import type { Cause } from './failure.ts';
import type { FleetOwner, PodFleet } from './fleet.ts';
import { ANNOTATIONS, LABELS, memberName, podName } from './labels.ts';
import { type Draft, objectKey } from './object.ts';
import { PORTS } from './pods/container.ts';
import { isOwned } from './pods/ownership.ts';
import { drainingSince, instanceFields, isRouter, type Now, readInstance, readRouter, urlOf } from './pods/read.ts';
import { instancePod, routerPod } from './pods/render.ts';
import { containerOf } from './pods/trouble.ts';

export class KubernetesPlatform implements Platform {
  readonly #fleet: PodFleet;
  readonly #owner: FleetOwner;

  constructor(fleet: PodFleet, owner: FleetOwner) {
    this.#fleet = fleet;
    this.#owner = owner;
  }

  async observe(): Promise<Observed> {
    const { namespace, name } = this.#owner;
    const { hellos } = this.#fleet;
    const pods = this.#fleet.podsOf(namespace, name);
    const own = pods.filter((pod) => isOwned(pod, this.#owner));
    const lists = new Map<Pod, RoutedList | null>();
    await Promise.all(
      own.map(async (pod) => {
        if (isRouter(pod)) lists.set(pod, await this.#routedList(pod));
        else await hellos.ask(pod);
      }),
    );
    const now: Now = { nowMs: this.#fleet.clock.now(), wallMs: this.#fleet.clock.wall() };
    const [routers, instances] = [own.filter(isRouter), own.filter((pod) => !isRouter(pod))];
    const alien = pods.filter((pod) => !own.includes(pod)).map(({ metadata }) => metadata.name);
    const taken = this.#fleet.takenKeys(`${namespace}/${name}-`).map((key) => key.slice(namespace.length + 1));
    return {
      instances: instances.flatMap((pod) => {
        const one = readInstance(pod, name, hellos.of(pod), now);
        return one === null ? [] : [{ ...one, drainingSinceMs: drainingSince(one.drainingSinceMs, this.#fleet.drainSeenMs(pod)) }];
      }),
      routers: routers.map((pod) => readRouter(pod, name, lists.get(pod) ?? null, now)).filter((one) => one !== null),
      takenNames: [...new Set([...alien, ...taken])].map((pod) => memberName(name, pod)).filter((one) => one !== null),
    };
  }

  /** @throws KubernetesError when the API server gives no answer to work with */
  async apply(step: Step): Promise<Outcome> {
    switch (step.type) {
      case 'startInstance':
        return this.#startInstance(step);
      case 'startRouter':
        return this.#create(step.name, routerPod(this.#podOwner(this.#owner.deployment), step), null);
      case 'drainInstance':
        return this.#on(step.name, OK, (pod) => this.#drain(pod));
      case 'restartInstance':
      case 'stopInstance':
      case 'restartRouter':
      case 'stopRouter':
        // A failed one is started anew by the next look, which does not find it.
        return this.#on(step.name, OK, (pod) => this.#delete(pod));
      case 'publishInstances':
        return this.#on(step.router, failure(`pod ${this.#key(step.router)} is not there`), (pod) => this.#publish(pod, step));
    }
  }

  async #startInstance(step: Step & { type: 'startInstance' }): Promise<Outcome> {
    const { role } = step.spec;
    const pool = this.#owner.pools[role];
    if (pool === undefined) return failure(`the ServingPool for ${role} is not there yet, which is to own pod ${step.name}`);
    return this.#create(step.name, instancePod(this.#podOwner(pool), step), instanceFields(role).role);
  }

  #podOwner(reference: FleetOwner['deployment']) {
    return { namespace: this.#owner.namespace, deployment: this.#owner.name, reference };
  }

  /** @param field of the ServingDeployment that says what its pods are; null for routers */
  async #create(name: string, draft: Draft<Pod>, field: string | null): Promise<Outcome> {
    const created = await this.#fleet.client.create(PODS, draft);
    switch (created.kind) {
      case 'written':
        this.#fleet.wrote(created.object);
        return OK;
      case 'rejected':
        return failure(`pod ${this.#key(name)} is refused: ${created.message}`, refusedField(created.causes, field));
      case 'exists':
        return this.#meet(name, draft);
    }
  }

  /** There is one of that name: an earlier try of ours made it and its answer was lost, or it is somebody else's. */
  async #meet(name: string, draft: Draft<Pod>): Promise<Outcome> {
    const found = await this.#fleet.client.get(PODS, this.#reference(name));
    if (found === null) return failure(`pod ${this.#key(name)} was there a moment ago: the next look decides`);
    if (!isOwned(found, this.#owner)) {
      this.#fleet.markTaken(objectKey(found.metadata));
      return failure(`pod ${this.#key(name)} is there already and not ours: it is left alone, and another name is taken`);
    }
    this.#fleet.wrote(found);
    const isSame = found.metadata.labels?.[LABELS.revision] === draft.metadata.labels?.[LABELS.revision];
    if (isSame && found.metadata.deletionTimestamp === undefined) return OK;
    return failure(`pod ${this.#key(name)} of before is still there: its name is free when it is gone`);
  }

  async #drain(pod: Pod): Promise<Outcome> {
    if (pod.metadata.annotations?.[ANNOTATIONS.drainingSince] !== undefined) return OK;
    const { uid } = pod.metadata;
    const since = new Date(this.#fleet.clock.wall()).toISOString();
    const metadata = { uid, annotations: { [ANNOTATIONS.drainingSince]: since } };
    const merged = await this.#fleet.client.merge(PODS, referenceOf(pod), { metadata });
    switch (merged.kind) {
      case 'written':
        this.#fleet.wrote(merged.object);
        return OK;
      case 'absent':
        return OK;
      case 'changed':
      case 'rejected':
        return failure(`pod ${objectKey(pod.metadata)} cannot be marked as draining: ${merged.message}`);
    }
  }

  async #delete(pod: Pod): Promise<Outcome> {
    if (pod.metadata.deletionTimestamp !== undefined) return OK;
    const { uid } = pod.metadata;
    const deleted = await this.#fleet.client.delete(PODS, referenceOf(pod), { uid });
    switch (deleted.kind) {
      case 'deleted':
      case 'deleting':
        this.#fleet.deleted(pod);
        return OK;
      case 'absent':
      case 'changed':
        // Gone, and perhaps another one is there: the next look sees it.
        return OK;
      case 'rejected':
        return failure(`pod ${objectKey(pod.metadata)} cannot be deleted: ${deleted.message}`);
    }
  }

  async #routedList(pod: Pod): Promise<RoutedList | null> {
    const adminUrl = urlOf(pod, PORTS.routerAdmin);
    if (adminUrl === null || containerOf(pod)?.state?.running === undefined) return null;
    return readRoutedInstances(adminUrl, this.#fleet.answerMs);
  }

  async #publish(pod: Pod, { model, instances }: Step & { type: 'publishInstances' }): Promise<Outcome> {
    const name = objectKey(pod.metadata);
    const adminUrl = urlOf(pod, PORTS.routerAdmin);
    if (adminUrl === null) return failure(`pod ${name} has no address yet`);
    // Another leader's clock may have been ahead of ours.
    const known = await this.#routedList(pod);
    if (known === null) return failure(`pod ${name} does not answer on its admin port ${PORTS.routerAdmin}`);
    // The newest list counts, whoever sent it: one of a leader that was deposed would undo that of the next.
    if (!this.#fleet.leads()) return failure(`pod ${name} is not told of instances: this process does not lead any more`);
    const generation = this.#fleet.nextGeneration(known.generation);
    const why = await publish(adminUrl, { generation, model, instances }, this.#fleet.answerMs);
    return why === null ? OK : failure(`pod ${name} did not take the list of instances: ${why}`);
  }

  /** @param absent the outcome when there is no such pod of ours (any more) */
  async #on(name: string, absent: Outcome, act: (pod: Pod) => Promise<Outcome>): Promise<Outcome> {
    const pod = this.#fleet.pods.get(this.#key(name));
    return pod === undefined || !isOwned(pod, this.#owner) ? absent : act(pod);
  }

  #reference(name: string): { readonly namespace: string; readonly name: string } {
    return { namespace: this.#owner.namespace, name: podName(this.#owner.name, name) };
  }

  #key(name: string): string {
    return objectKey(this.#reference(name));
  }
}

const OK: Outcome = { ok: true };

function failure(message: string, field: string | null = null): Outcome {
  return { ok: false, field, message };
}

function referenceOf({ metadata }: Pod): { readonly namespace: string; readonly name: string } {
  return { namespace: metadata.namespace ?? '', name: metadata.name };
}

/** Fields of a pod that are written as they stand in the ServingDeployment. */
const WRITTEN_IN: readonly (readonly [RegExp, (role: string) => string])[] = [
  [/\.resources\b/, (role) => `${role}.resources`],
  [/\.(nodeSelector|tolerations|priorityClassName|serviceAccountName|imagePullSecrets)\b/, (role) => `${role}.podOverrides`],
  [/^metadata\.(labels|annotations)\b/, (role) => `${role}.podOverrides`],
  [/\.image\b/, () => 'spec.engine.image'],
  [/\.env\b/, () => 'spec.engine.env'],
];

function refusedField(causes: readonly Cause[], role: string | null): string | null {
  if (role === null) return null;
  const written = causes.map(({ field }) => WRITTEN_IN.find(([pattern]) => pattern.test(field))).find((one) => one !== undefined);
  return written === undefined ? null : written[1](role);
}
