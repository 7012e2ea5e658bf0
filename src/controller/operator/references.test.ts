import { expect, it } from 'vitest';
import { ObjectStore } from '../../platform/kubernetes/index.ts';
import { References } from './references.ts';
import { type DeploymentObject, namedDeployment } from './resources.ts';
import { namedTier } from './tiers.ts';

let version = 0;
function object(name: string, spec: unknown, namespace = 'team'): DeploymentObject {
  version += 1;
  return {
    apiVersion: 'serving.sluice.dev/v1alpha1',
    kind: 'Any',
    metadata: { name, namespace, uid: name, resourceVersion: String(version) },
    spec,
  };
}

const deployment = (name: string, tier: string | null, namespace = 'team') =>
  object(name, { kv: tier === null ? {} : { tierRef: { name: tier } } }, namespace);

it('knows who names whom, and tells of everyone that it concerns', () => {
  const store = new ObjectStore<DeploymentObject>(10);
  store.put(deployment('a', 'one'));
  store.put(deployment('z', 'one', 'rivals'));
  const users = new References(store, namedTier);
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

  store.remove(deployment('a', 'one'));
  expect([heard(), users.keysOf('team/one')]).toEqual([['team/one'], []]);

  // What nobody names any more is forgotten.
  const toldLater: string[] = [];
  users.onChange((tier) => toldLater.push(tier));
  expect(toldLater).toEqual(['rivals/one']);
});

it('takes what is not sound for naming nobody', () => {
  const store = new ObjectStore<DeploymentObject>(10);
  const contexts = new References(store, namedDeployment);
  store.put(object('a', { deploymentRef: { name: 'chat' } }));
  for (const spec of [undefined, null, 'text', {}, { deploymentRef: null }, { deploymentRef: { name: 5 } }]) {
    store.put(object('b', { deploymentRef: { name: 'chat' } }));
    store.put(object('b', spec));
    expect(contexts.keysOf('team/chat')).toEqual(['team/a']);
  }
});
