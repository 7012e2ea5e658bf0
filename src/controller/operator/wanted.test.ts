import { describe, expect, it } from 'vitest';
import { readResource } from '../../api/index.ts';
import { desiredOf } from '../servingdeployment/desired.ts';
import type { DeploymentObject } from './resources.ts';
import { wantedOf, withSizes } from './wanted.ts';

function deployment(change: Readonly<Record<string, unknown>> = {}): DeploymentObject {
  const spec = { model: { name: 'm' }, engine: { type: 'sim' }, prefill: { replicas: 1 }, decode: { replicas: 2 }, ...change };
  const metadata = { name: 'chat', namespace: 'team', uid: 'u', resourceVersion: '1' };
  return { apiVersion: 'serving.sluice.dev/v1alpha1', kind: 'ServingDeployment', metadata, spec };
}

const PEERS = [{ ipBlock: { cidr: '10.0.0.0/8' } }];

function wanted(object: DeploymentObject, operatorPeers: typeof PEERS | null = PEERS) {
  const made = wantedOf(object, { image: 'i', operatorPeers });
  if ('errors' in made) throw new Error(made.errors.join('; '));
  return made;
}

describe('what a deployment wants', () => {
  it('is its pools, Service, budgets and policies', () => {
    const { pools, service, budgets, policies } = wanted(deployment());
    const names = [...Object.values(pools), service, ...budgets, ...(policies ?? [])].map(({ metadata }) => metadata.name);
    const own = ['chat-prefill', 'chat-decode', 'chat', 'chat-prefill', 'chat-decode', 'chat-router', 'chat-router', 'chat-instances'];
    expect(names).toEqual(own);
  });

  it('is no policies where they are switched off, or would lock out an operator of whom nobody knows where it is', () => {
    expect(wanted(deployment({ network: { policies: 'None' } })).policies).toBeNull();
    expect(wanted(deployment(), null).policies).toBeNull();
  });

  it('is nothing when it cannot be acted on', () => {
    expect(wantedOf(deployment({ decode: { replicas: -1 } }), { image: 'i', operatorPeers: null })).toMatchObject({
      errors: [expect.stringContaining('spec.decode.replicas')],
    });
    const vllm = deployment({ engine: { type: 'vllm' }, model: { name: 'm', source: 'org/m' } });
    expect(wantedOf(vllm, { image: 'i', operatorPeers: null })).toMatchObject({ errors: [expect.stringContaining('spec.engine.image')] });
  });

  it('with other sizes is as if they were known from the beginning', () => {
    const object = deployment();
    const read = readResource(object);
    if (!read.ok) throw new Error(read.errors.join('; '));
    const sizes = { decode: 5 };
    const desired = desiredOf(read.deployment, { kind: 'pods', image: 'i', replicas: sizes });
    expect(withSizes(wanted(object).desired, sizes)).toEqual(desired);
  });
});
