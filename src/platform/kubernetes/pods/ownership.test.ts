import { describe, expect, it } from 'vitest';
import type { Pod } from '../builtin.ts';
import type { OwnerReference } from '../object.ts';
import { isOwned } from './ownership.ts';

const reference = (kind: string, uid: string): OwnerReference => {
  return { apiVersion: 'serving.sluice.dev/v1alpha1', kind, name: kind, uid, controller: true };
};
const DEPLOYMENT = reference('ServingDeployment', 'd');
const OWNERS = { name: 'chat', deployment: DEPLOYMENT, pools: { decode: reference('ServingPool', 'p') } };

function pod(role: string | null, owner: OwnerReference | null): Pod {
  const labels = { 'serving.sluice.dev/deployment': 'chat', ...(role === null ? {} : { 'serving.sluice.dev/role': role }) };
  const ownerReferences = owner === null ? [] : [owner];
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'chat-x', uid: 'u', resourceVersion: '1', labels, ownerReferences } };
}

describe('a pod is ours', () => {
  it.each<readonly [string, boolean, Pod]>([
    ['when the pool of its role owns it', true, pod('decode', reference('ServingPool', 'p'))],
    ['when the deployment owns it and it is a router', true, pod(null, DEPLOYMENT)],
    ['while its pool is no longer wanted', true, pod('prefill', reference('ServingPool', 'old'))],
    ['not when an earlier pool of that name owns it', false, pod('decode', reference('ServingPool', 'earlier'))],
    ['not when somebody only put our labels on it', false, pod('decode', null)],
    ['not when something else controls it', false, pod('prefill', { ...reference('ReplicaSet', 'p'), apiVersion: 'apps/v1' })],
    ['not when another deployment owns it', false, pod(null, reference('ServingDeployment', 'other'))],
    ['not when it is not controlled but only held', false, pod('decode', { ...reference('ServingPool', 'p'), controller: false })],
  ])('%s', (_, ours, one) => {
    expect(isOwned(one, OWNERS)).toBe(ours);
  });
});
