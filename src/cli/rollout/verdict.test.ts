import { describe, expect, it } from 'vitest';
import type { DeploymentObject } from '../../controller/operator/index.ts';
import { verdictOn } from './verdict.ts';

type Word = 'True' | 'False';

function object(conditions: Readonly<Record<string, readonly [Word, string, string]>>, generation = 2): DeploymentObject {
  return {
    apiVersion: 'serving.sluice.dev/v1alpha1',
    kind: 'ServingDeployment',
    metadata: { name: 'chat', uid: 'u', resourceVersion: '1', generation },
    status: {
      observedGeneration: 2,
      conditions: Object.entries(conditions).map(([type, [status, reason, message]]) => ({
        type,
        status,
        reason,
        message,
        lastTransitionTime: '2026-01-01T00:00:00Z',
      })),
      roles: [{ role: 'decode', desired: 2, ready: 1, updated: 2, draining: 1, instances: '1/2' }],
      revision: 'abc',
    },
  };
}

const SETTLED = {
  Ready: ['True', 'Serving', 'ready'],
  Reconciling: ['False', 'Settled', 'as wanted'],
  Stalled: ['False', 'NothingKeepsFailing', ''],
} as const;

describe('how far a roll is', () => {
  it('is done when it serves and nothing changes', () => {
    expect(verdictOn(object(SETTLED))).toEqual({ kind: 'done', text: 'decode 1/2 ready, 2 updated, 1 draining; revision abc' });
  });

  it('is not done while the operator has not seen the change, or has never looked', () => {
    expect(verdictOn(object(SETTLED, 3))).toMatchObject({ kind: 'going', text: expect.stringContaining('the operator has not taken up') });
    const { status: _, ...without } = object(SETTLED);
    expect(verdictOn(without).kind).toBe('going');
  });

  it('says what it waits for', () => {
    const rolling = { ...SETTLED, Reconciling: ['True', 'Rolling', '1 instances have an outdated spec'] } as const;
    expect(verdictOn(object(rolling))).toMatchObject({ kind: 'going', text: expect.stringContaining('1 instances have an outdated spec') });
    const unready = { ...SETTLED, Ready: ['False', 'InstancesFailing', 'decode-0 failed'] } as const;
    expect(verdictOn(object(unready))).toMatchObject({ kind: 'going', text: expect.stringContaining('decode-0 failed') });
  });

  it('does not end by itself when it is paused, or when something keeps failing', () => {
    const paused = { ...SETTLED, Reconciling: ['False', 'Paused', 'changes that wait: spec.engine.args'] } as const;
    expect(verdictOn(object(paused))).toMatchObject({ kind: 'paused', text: expect.stringContaining('spec.engine.args') });
    const stalled = { ...paused, Stalled: ['True', 'KeepsFailing', 'decode-0 failed 3 times'] } as const;
    expect(verdictOn(object(stalled))).toMatchObject({ kind: 'stalled', text: expect.stringContaining('KeepsFailing: decode-0 failed 3') });
  });
});
