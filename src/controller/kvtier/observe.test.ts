import { expect, it } from 'vitest';
import type { DeploymentObject } from '../operator/resources.ts';
import { Watched } from '../operator/watched.fixture.ts';
import { TierUsers } from './observe.ts';

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
  const store = new Watched<DeploymentObject>();
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
