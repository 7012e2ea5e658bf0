import { describe, expect, it } from 'vitest';
import { readResource } from '../../api/index.ts';
import { desiredOf } from '../servingdeployment/desired.ts';
import { budgetDrafts, poolDraft, serviceDraft, serviceUrl } from './drafts.ts';
import type { DeploymentObject } from './resources.ts';
import { OWN } from './tiers.ts';

const OBJECT: DeploymentObject = {
  apiVersion: 'serving.sluice.dev/v1alpha1',
  kind: 'ServingDeployment',
  metadata: { name: 'chat', namespace: 'team', uid: 'u', resourceVersion: '1' },
  spec: {
    model: { name: 'm' },
    engine: { type: 'sim' },
    prefill: { replicas: 2, resources: { requests: { cpu: '1' } } },
    decode: { replicas: 3 },
    router: { replicas: 2, service: { type: 'NodePort', port: 8000 } },
  },
};
const read = readResource(OBJECT);
if (!read.ok) throw new Error(read.errors.join());
const { deployment, spec } = read;
const desired = desiredOf(deployment, { kind: 'pods', image: 'i', replicas: {} });
const OWNER = { apiVersion: 'serving.sluice.dev/v1alpha1', kind: 'ServingDeployment', name: 'chat', uid: 'u', controller: true };

describe('drafts', () => {
  it('a pool says what an instance is and leaves its size alone', () => {
    const draft = poolDraft(OBJECT, { spec, desired, source: OWN }, 'prefill');
    expect(draft).toMatchObject({
      metadata: { name: 'chat-prefill', namespace: 'team', ownerReferences: [OWNER] },
      spec: {
        role: 'prefill',
        instance: { revision: desired.pools.prefill?.revision, family: desired.family, resources: { requests: { cpu: '1' } } },
      },
    });
    expect(draft?.spec).not.toHaveProperty('replicas');
    expect(draft?.spec?.instance).not.toHaveProperty('replicas');
    expect(poolDraft(OBJECT, { spec, desired, source: OWN }, 'mixed')).toBeNull();
  });

  it('the Service selects routers', () => {
    expect(serviceDraft(OBJECT, spec)).toMatchObject({
      metadata: { name: 'chat', ownerReferences: [OWNER] },
      spec: {
        type: 'NodePort',
        selector: { 'serving.sluice.dev/deployment': 'chat', 'app.kubernetes.io/component': 'router' },
        ports: [{ port: 8000, targetPort: 'http' }],
      },
    });
    expect(serviceUrl(OBJECT, spec)).toBe('http://chat.team.svc:8000');
  });

  it('evictions take one at a time', () => {
    expect(
      budgetDrafts(OBJECT, desired).map(({ metadata: { name }, spec: budget }) => [name, budget?.maxUnavailable, budget?.minAvailable]),
    ).toEqual([
      ['chat-prefill', 1, undefined],
      ['chat-decode', 1, undefined],
      ['chat-router', undefined, 1],
    ]);
  });
});
