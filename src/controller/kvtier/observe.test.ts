import { expect, it } from 'vitest';
import type { StoreView } from '../../platform/kubernetes/index.ts';
import type { DeploymentObject } from '../operator/resources.ts';
import { TierUsers } from './observe.ts';

/** What a watch knows. */
class Watched implements StoreView<DeploymentObject> {
  readonly #objects = new Map<string, DeploymentObject>();
  readonly #listeners = new Set<(key: string) => void>();

  get size(): number {
    return this.#objects.size;
  }

  get(key: string): DeploymentObject | undefined {
    return this.#objects.get(key);
  }

  values(): IterableIterator<DeploymentObject> {
    return this.#objects.values();
  }

  keys(): IterableIterator<string> {
    return this.#objects.keys();
  }

  subscribe(listener: (key: string) => void): () => void {
    this.#listeners.add(listener);
    for (const key of this.#objects.keys()) listener(key);
    return () => this.#listeners.delete(listener);
  }

  put(object: DeploymentObject): void {
    const key = `${object.metadata.namespace}/${object.metadata.name}`;
    this.#objects.set(key, object);
    for (const listener of this.#listeners) listener(key);
  }

  remove(key: string): void {
    this.#objects.delete(key);
    for (const listener of this.#listeners) listener(key);
  }
}

let version = 0;
function deployment(name: string, tier: string | null, namespace = 'team'): DeploymentObject {
  version += 1;
  return {
    apiVersion: 'serving.sluice.dev/v1alpha1',
    kind: 'ServingDeployment',
    metadata: { name, namespace, uid: name, resourceVersion: String(version) },
    spec: { kv: tier === null ? {} : { tierRef: { name: tier } } },
  };
}

it('knows who names which tier, and tells every tier that it concerns', () => {
  const store = new Watched();
  store.put(deployment('a', 'one'));
  store.put(deployment('z', 'one', 'rivals'));
  const users = new TierUsers(store);
  const told: string[] = [];
  users.onChange((tier) => told.push(tier));
  const heard = () => told.splice(0);
  expect(heard()).toEqual(['team/one', 'rivals/one']);

  store.put(deployment('b', 'one'));
  expect([heard(), users.keysOf('team/one')]).toEqual([['team/one'], ['team/a', 'team/b']]);
  // A status was written.
  store.put(deployment('b', 'one'));
  expect(heard()).toEqual(['team/one']);

  store.put(deployment('b', 'two'));
  expect(heard()).toEqual(['team/one', 'team/two']);
  expect([users.keysOf('team/one'), users.of('team/two').map(({ metadata }) => metadata.name)]).toEqual([['team/a'], ['b']]);

  store.put(deployment('b', null));
  expect([heard(), users.keysOf('team/two')]).toEqual([['team/two'], []]);
  store.put(deployment('b', null));
  expect(heard()).toEqual([]);

  store.remove('team/a');
  expect([heard(), users.keysOf('team/one')]).toEqual([['team/one'], []]);
});
