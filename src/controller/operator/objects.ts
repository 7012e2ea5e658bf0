/** Makes the objects of a deployment that are not pods as they should be: looks first, and writes only what differs. */
import {
  CONTROLLER_REVISIONS,
  type ControllerRevision,
  DISRUPTION_BUDGETS,
  type Draft,
  type KubeObject,
  type KubernetesClient,
  NETWORK_POLICIES,
  type NetworkPolicy,
  type PodDisruptionBudget,
  type Resource,
  SERVICES,
  type Service,
} from '../../platform/kubernetes/index.ts';
import { isApplied } from './change.ts';
import type { RevisionHistory } from './history.ts';
import type { Latest } from './latest.ts';
import { type DeploymentObject, isOwnedBy, type PoolObject, SERVING_POOLS } from './resources.ts';
import type { RevisionChange } from './revisions.ts';
import { decideScale, keepScaler, NOTED } from './scale.ts';

export interface OwnObjects {
  readonly pools: Latest<PoolObject>;
  readonly services: Latest<Service>;
  readonly budgets: Latest<PodDisruptionBudget>;
  readonly policies: Latest<NetworkPolicy>;
  readonly revisions: Latest<ControllerRevision>;
  readonly history: RevisionHistory;
}

export type Ensured<T> = { readonly object: T } | { readonly problem: string };

export interface SizedPool {
  readonly pool: PoolObject;
  readonly replicas: number;
  readonly overridden: boolean;
}

export class Objects {
  readonly #client: KubernetesClient;
  readonly #own: OwnObjects;

  constructor(client: KubernetesClient, own: OwnObjects) {
    this.#client = client;
    this.#own = own;
  }

  service(owner: DeploymentObject, draft: Draft<Service>): Promise<Ensured<Service>> {
    return this.#ensure(SERVICES, this.#own.services, owner, draft);
  }

  budget(owner: DeploymentObject, draft: Draft<PodDisruptionBudget>): Promise<Ensured<PodDisruptionBudget>> {
    return this.#ensure(DISRUPTION_BUDGETS, this.#own.budgets, owner, draft);
  }

  policy(owner: DeploymentObject, draft: Draft<NetworkPolicy>): Promise<Ensured<NetworkPolicy>> {
    return this.#ensure(NETWORK_POLICIES, this.#own.policies, owner, draft);
  }

  revisions(owner: DeploymentObject): ControllerRevision[] {
    return this.#own.history.of(owner);
  }

  /** Records what is wanted, and forgets what is too old. @returns what is in the way */
  async record(owner: DeploymentObject, { draft, surplus }: RevisionChange): Promise<string[]> {
    const { namespace, name } = owner.metadata;
    const problems: string[] = [];
    if (draft !== null) {
      const ensured = await this.#ensure(CONTROLLER_REVISIONS, this.#own.revisions, owner, draft);
      if ('problem' in ensured) problems.push(ensured.problem);
      else this.#own.history.note(`${namespace}/${name}`, keyOf(draft));
    }
    for (const { metadata } of surplus) {
      const problem = await this.#remove(CONTROLLER_REVISIONS, this.#own.revisions, owner, metadata.name);
      if (problem !== null) problems.push(problem);
    }
    return problems;
  }

  /** A policy that is not wanted goes, when it is ours. @returns what is in the way, or null */
  removePolicy(owner: DeploymentObject, name: string): Promise<string | null> {
    return this.#remove(NETWORK_POLICIES, this.#own.policies, owner, name);
  }

  /** The pool with the size that counts. */
  async pool(owner: DeploymentObject, draft: Draft<PoolObject>, wanted: number): Promise<SizedPool | { readonly problem: string }> {
    const ensured = await this.#ensure(SERVING_POOLS, this.#own.pools, owner, draft);
    if ('problem' in ensured) return ensured;
    const { object } = ensured;
    const { replicas, write, overridden } = decideScale(wanted, object);
    if (write === null) return { pool: object, replicas, overridden };
    const { name, namespace, resourceVersion } = object.metadata;
    const patch = {
      metadata: { resourceVersion, annotations: { [NOTED]: String(wanted) } },
      ...(write === 'replicas' ? { spec: { replicas: wanted } } : {}),
    };
    const merged = await this.#client.merge(SERVING_POOLS, reference(name, namespace), patch);
    if (merged.kind === 'rejected') return { problem: `ServingPool ${name} cannot be scaled to ${wanted}: ${merged.message}` };
    if (merged.kind !== 'written') throw movedOn(`ServingPool ${name}`);
    this.#own.pools.put(keyOf(draft), merged.object);
    return { pool: merged.object, replicas, overridden };
  }

  /** The pool of a role that is not wanted any more goes when none of its instances is left: it owns their pods. */
  removePool(owner: DeploymentObject, name: string): Promise<string | null> {
    return this.#remove(SERVING_POOLS, this.#own.pools, owner, name);
  }

  storedPool(owner: DeploymentObject, name: string): PoolObject | null {
    const pool = this.#own.pools.get(`${owner.metadata.namespace}/${name}`);
    return pool !== undefined && isOwnedBy(pool, owner) ? pool : null;
  }

  async writePoolStatus(pool: PoolObject, status: PoolObject['status'] & object): Promise<void> {
    const { name, namespace, uid } = pool.metadata;
    const draft = { metadata: { name, ...(namespace === undefined ? {} : { namespace }), uid }, status };
    const applied = await this.#client.applyStatus(SERVING_POOLS, draft);
    if (applied.kind === 'written') this.#own.pools.put(`${namespace}/${name}`, applied.object);
  }

  async #remove<T extends KubeObject>(
    resource: Resource<T>,
    known: Latest<T>,
    owner: DeploymentObject,
    name: string,
  ): Promise<string | null> {
    const { namespace } = owner.metadata;
    const object = known.get(`${namespace}/${name}`);
    if (object === undefined || object.metadata.deletionTimestamp !== undefined || !isOwnedBy(object, owner)) return null;
    const deleted = await this.#client.delete(resource, reference(name, namespace), { uid: object.metadata.uid });
    if (deleted.kind === 'rejected') return `${resource.kind} ${name} cannot be deleted: ${deleted.message}`;
    return null;
  }

  async #ensure<T extends KubeObject>(
    resource: Resource<T>,
    known: Latest<T>,
    owner: DeploymentObject,
    draft: Draft<T>,
  ): Promise<Ensured<T>> {
    const { name, namespace } = draft.metadata;
    const what = `${resource.kind} ${name}`;
    // The watch shows only what carries our labels; an object in the way does not.
    const stored = known.get(keyOf(draft)) ?? (await this.#client.get(resource, reference(name, namespace)));
    if (stored && !isOwnedBy(stored, owner)) {
      return { problem: `${what} exists and does not belong to this deployment: delete or rename it, or rename the deployment` };
    }
    if (stored?.metadata.deletionTimestamp !== undefined) return { problem: `${what} is being deleted; a new one follows when it is gone` };
    if (stored && isApplied(draft, stored)) return { object: stored };
    const metadata = stored ? { ...draft.metadata, uid: stored.metadata.uid } : draft.metadata;
    const applied = await this.#client.apply(resource, { ...draft, metadata });
    switch (applied.kind) {
      case 'written':
        known.put(keyOf(draft), applied.object);
        return { object: keepScaler(applied.object) };
      case 'conflict': {
        const fields = applied.conflicts.map(({ field, manager }) => `${field} (${manager})`).join(', ');
        return { problem: `${what}: others hold fields that we set: ${fields}; remove what they set, or delete the object` };
      }
      case 'rejected':
        return { problem: `${what} is refused: ${applied.message}` };
      case 'changed':
      case 'absent':
        known.forget(keyOf(draft));
        throw movedOn(what);
    }
  }
}

/** Nothing to tell a user: the next round sees what is now. */
function movedOn(what: string): Error {
  return new Error(`${what} changed while it was written; it is looked at again`);
}

function keyOf<T extends KubeObject>({ metadata: { name, namespace } }: Draft<T>): string {
  return `${namespace}/${name}`;
}

function reference(name: string, namespace: string | undefined) {
  return { name, ...(namespace === undefined ? {} : { namespace }) };
}
