/** What a round over a PinnedContext did, and what came of it, as events for people. Pure. */
import type { PinnedContextStatus } from '../../api/index.ts';
import type { Happening } from '../../platform/kubernetes/index.ts';
import type { PinnedObject } from '../operator/resources.ts';
import type { PinStep } from './plan.ts';

const REASONS = { pin: 'Pin', unpin: 'Unpin' } as const satisfies Partial<Record<PinStep['verb'], string>>;
const STALLED = 'PinStalled';

/** Every reason that an event about a PinnedContext may have. */
export const PIN_EVENTS: readonly string[] = [...Object.values(REASONS), 'Resident', STALLED];

export interface PinRoundTold {
  readonly done: readonly PinStep[];
  readonly before: PinnedContextStatus | undefined;
  readonly after: PinnedContextStatus;
}

/** Renewals are left out: they change nothing. */
export function pinHappenings(regarding: PinnedObject, { done, before, after }: PinRoundTold): Happening[] {
  const steps = done.flatMap(({ verb, instance, reason }): Happening[] => {
    if (verb === 'renew') return [];
    return [{ regarding, type: 'Normal', reason: REASONS[verb], action: REASONS[verb], note: `${instance}: ${reason}` }];
  });
  const ready = turned('Ready', before, after);
  if (ready !== null) steps.push({ regarding, type: 'Normal', reason: 'Resident', action: 'Pin', note: ready.message });
  const stalled = turned('Stalled', before, after);
  if (stalled !== null) {
    steps.push({ regarding, type: 'Warning', reason: STALLED, action: 'Pin', note: `${stalled.reason}: ${stalled.message}` });
  }
  return steps;
}

/** The condition if it is true and was not, or was for another reason. */
function turned(name: 'Ready' | 'Stalled', before: PinnedContextStatus | undefined, after: PinnedContextStatus) {
  const find = (status: PinnedContextStatus | undefined) =>
    status?.conditions?.find(({ type, status: is }) => type === name && is === 'True');
  const [was, now] = [find(before), find(after)];
  return now === undefined || was?.reason === now.reason ? null : now;
}
