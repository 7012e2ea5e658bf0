import { expect, it } from 'vitest';
import type { PinnedObject } from '../operator/resources.ts';
import { Watched } from '../operator/watched.fixture.ts';
import { ContextsOf } from './observe.ts';

function context(name: string, spec: unknown): PinnedObject {
  return {
    apiVersion: 'serving.sluice.dev/v1alpha1',
    kind: 'PinnedContext',
    metadata: { name, namespace: 'team', uid: name, resourceVersion: '1' },
    spec,
  };
}

it('knows the contexts of a deployment as they come, are made anew and go', () => {
  const watched = new Watched<PinnedObject>();
  watched.put(context('a', { deploymentRef: { name: 'chat' } }));
  const contexts = new ContextsOf(watched);
  watched.put(context('b', { deploymentRef: { name: 'chat' } }));
  watched.put(context('c', { deploymentRef: { name: 'other' } }));
  for (const spec of [undefined, null, 'text', {}, { deploymentRef: null }, { deploymentRef: { name: 5 } }])
    watched.put(context('d', spec));
  expect(contexts.keys('team/chat')).toEqual(['team/a', 'team/b']);
  expect(contexts.keys('team/other')).toEqual(['team/c']);
  watched.put(context('a', { deploymentRef: { name: 'other' } }));
  watched.remove('team/b');
  expect(contexts.keys('team/chat')).toEqual([]);
  expect(contexts.keys('team/other')).toEqual(['team/c', 'team/a']);
});
