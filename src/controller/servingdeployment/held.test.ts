import { describe, expect, it } from 'vitest';
import { readResource } from '../../api/index.ts';
import { heldBack } from './held.ts';

function deployment(change: Readonly<Record<string, unknown>>) {
  const spec = { model: { name: 'm' }, engine: { type: 'sim' }, decode: { replicas: 2 }, ...change };
  const metadata = { name: 'chat', namespace: 'team' };
  const read = readResource({ apiVersion: 'serving.sluice.dev/v1alpha1', kind: 'ServingDeployment', metadata, spec });
  if (!read.ok) throw new Error(read.errors.join('; '));
  return read.deployment;
}

describe('a roll that is paused', () => {
  it('takes up sizes and nothing else', () => {
    const taken = deployment({ prefill: { replicas: 1 } });
    const sizes = { prefill: { replicas: 3 }, decode: { replicas: 4 }, router: { replicas: 2 } };
    const edited = deployment({ ...sizes, model: { name: 'other' }, kv: { lease: '20s' }, rollout: { paused: true } });
    expect(heldBack(taken, edited)).toEqual(deployment({ ...sizes, rollout: { paused: true } }));
  });

  it('keeps the roles that there are', () => {
    const paused = { rollout: { paused: true } };
    expect(heldBack(deployment({ prefill: { replicas: 2 } }), deployment(paused)).spec.prefill?.replicas).toBe(2);
    expect(heldBack(deployment({}), deployment({ prefill: {}, ...paused })).spec.prefill).toBeNull();
  });
});
