import { describe, expect, it } from 'vitest';
import type { PinnedContextStatus } from '../../api/index.ts';
import type { PinnedObject } from '../operator/resources.ts';
import { PIN_EVENTS, pinHappenings } from './happenings.ts';
import type { PinStep } from './plan.ts';
import { pinnedStatus, tellPinned } from './status.ts';

const OBJECT: PinnedObject = {
  apiVersion: 'serving.sluice.dev/v1alpha1',
  kind: 'PinnedContext',
  metadata: { name: 'a', namespace: 'b', uid: 'u', resourceVersion: '1' },
};
const WISH = { id: 'b/a', digest: 'now', deployment: 'chat', replicas: 1, tier: 'host' } as const;
const CONTEXT = { generation: 1, now: '2026-01-02T03:04:05Z', before: null };
const MISSING = pinnedStatus(tellPinned({ kind: 'noDeployment', wish: WISH }), CONTEXT);
const FOREIGN = pinnedStatus(tellPinned({ kind: 'foreignEngine', wish: WISH, engine: 'vllm' }), CONTEXT);
const RESIDENT: PinnedContextStatus = {
  conditions: [
    { type: 'Ready', status: 'True', reason: 'Resident', message: '1 instance holds it: p-0', lastTransitionTime: CONTEXT.now },
    { type: 'Stalled', status: 'False', reason: 'NothingKeepsFailing', message: 'no', lastTransitionTime: CONTEXT.now },
  ],
};

function told(done: readonly PinStep[], before: PinnedContextStatus | undefined, after: PinnedContextStatus): string[] {
  return pinHappenings(OBJECT, { done, before, after }).map(({ type, reason, note }) => `${type} ${reason} ${note}`);
}

describe('pinHappenings', () => {
  it('tells of steps but renewals', () => {
    const step = (verb: PinStep['verb']): PinStep => ({ verb, instance: 'p-0', reason: `because of ${verb}` });
    expect(told([step('pin'), step('renew'), step('unpin')], MISSING, MISSING)).toEqual([
      'Normal Pin p-0: because of pin',
      'Normal Unpin p-0: because of unpin',
    ]);
  });

  it('tells once that it is where it is wanted', () => {
    expect(told([], MISSING, RESIDENT)).toEqual(['Normal Resident 1 instance holds it: p-0']);
    expect(told([], RESIDENT, RESIDENT)).toEqual([]);
  });

  it('warns once of what does not come about without a change', () => {
    expect(told([], undefined, FOREIGN)).toEqual([expect.stringMatching(/^Warning PinStalled EngineCannotPin: vllm decides by itself/)]);
    expect(told([], FOREIGN, FOREIGN)).toEqual([]);
  });

  it('knows the reasons of all of them', () => {
    const all = [
      ...pinHappenings(OBJECT, { done: [{ verb: 'pin', instance: 'p', reason: '' }], before: MISSING, after: RESIDENT }),
      ...pinHappenings(OBJECT, { done: [{ verb: 'unpin', instance: 'p', reason: '' }], before: RESIDENT, after: FOREIGN }),
    ];
    expect(new Set(all.map(({ reason }) => reason))).toEqual(new Set(PIN_EVENTS));
  });
});
