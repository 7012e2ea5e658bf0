import { describe, expect, it } from 'vitest';
import type { PoolObject } from './resources.ts';
import { decideScale, keepScaler, NOTED, overriddenText } from './scale.ts';

function pool(replicas: number | undefined, noted: string | undefined): PoolObject {
  const annotations = noted === undefined ? {} : { [NOTED]: noted };
  return {
    apiVersion: 'serving.sluice.dev/v1alpha1',
    kind: 'ServingPool',
    metadata: { name: 'chat-decode', namespace: 'team', uid: 'u', resourceVersion: '1', annotations },
    spec: { role: 'decode', instance: {}, ...(replicas === undefined ? {} : { replicas }) },
  };
}

describe('decideScale', () => {
  it('writes the number of the deployment into a pool that does not have it yet, and when it changes', () => {
    expect(decideScale(3, pool(1, undefined))).toEqual({ replicas: 3, write: 'replicas', overridden: false });
    expect(decideScale(3, pool(2, '2'))).toEqual({ replicas: 3, write: 'replicas', overridden: false });
    expect(decideScale(2, pool(2, '2'))).toEqual({ replicas: 2, write: null, overridden: false });
  });

  it('leaves what others set, also when the deployment changes afterwards', () => {
    expect(decideScale(2, pool(5, '2'))).toEqual({ replicas: 5, write: null, overridden: true });
    expect(decideScale(3, pool(5, '2'))).toEqual({ replicas: 5, write: null, overridden: true });
    expect(decideScale(2, pool(0, '2'))).toEqual({ replicas: 0, write: null, overridden: true });
  });

  it('follows the deployment again when others set its number', () => {
    expect(decideScale(5, pool(5, '2'))).toEqual({ replicas: 5, write: 'note', overridden: false });
  });
});

describe('keepScaler', () => {
  it('keeps who set the size last, and nothing else of who owns what', () => {
    const entry = (manager: string, time: string, field: string) => ({ manager, time, fieldsV1: { 'f:spec': { [field]: {} } } });
    const managedFields = [
      entry('sluice-operator', '2026-01-04T00:00:00Z', 'f:replicas'),
      entry('kubectl', '2026-01-02T00:00:00Z', 'f:replicas'),
      entry('other', '2026-01-03T00:00:00Z', 'f:role'),
    ];
    const stored = pool(5, '2');
    const kept = keepScaler({ ...stored, metadata: { ...stored.metadata, managedFields } });
    expect(kept.metadata).not.toHaveProperty('managedFields');
    expect(overriddenText(kept, 'spec.decode.replicas', 2)).toBe(
      '5 are wanted because ServingPool chat-decode was scaled by "kubectl"; spec.decode.replicas is 2 and does not count until they agree: kubectl scale servingpool chat-decode -n team --replicas=2',
    );
  });
});
