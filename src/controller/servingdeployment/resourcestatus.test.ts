import { describe, expect, it } from 'vitest';
import { servingDeploymentStatus } from '../../api/index.ts';
import { resourceStatus } from './resourcestatus.ts';
import type { Status } from './status.ts';

const STATUS: Status = {
  conditions: [
    { type: 'Ready', status: false, reason: 'InstancesStarting', message: '0 of 1 decode instances are ready' },
    { type: 'Reconciling', status: true, reason: 'Starting', message: 'instances are starting' },
  ],
  roles: [{ role: 'decode', desired: 2, ready: 1, updated: 2, draining: 0 }],
  revision: '0a1b2c3d4e',
  url: null,
};
const FIRST = '2026-01-02T03:04:05.000Z';
const LATER = '2026-01-02T03:05:00.000Z';

describe('resourceStatus', () => {
  const first = resourceStatus(STATUS, { generation: 3, now: FIRST, before: null });

  it('has the form that the resource has', () => {
    expect(servingDeploymentStatus.safeParse(first).error).toBeUndefined();
    expect(first).toMatchObject({ observedGeneration: 3, revision: '0a1b2c3d4e', roles: [{ role: 'decode', ready: 1, instances: '1/2' }] });
    expect(first.conditions?.[0]).toEqual({
      type: 'Ready',
      status: 'False',
      reason: 'InstancesStarting',
      message: '0 of 1 decode instances are ready',
      lastTransitionTime: FIRST,
      observedGeneration: 3,
    });
    expect(first).not.toHaveProperty('url');
  });

  it('keeps the time of a condition that stays, whatever its message, and renews that of one that turns', () => {
    const ready = { type: 'Ready', status: true, reason: 'Serving', message: 'served' } as const;
    const now = {
      ...STATUS,
      conditions: [ready, { ...STATUS.conditions[1], message: 'one more' } as Status['conditions'][number]],
      url: 'http://x',
    };
    const later = resourceStatus(now, { generation: 4, now: LATER, before: first });
    expect(later.conditions?.map(({ type, lastTransitionTime }) => [type, lastTransitionTime])).toEqual([
      ['Ready', LATER],
      ['Reconciling', FIRST],
    ]);
    expect(later.url).toBe('http://x');
  });

  it('cuts a message that is longer than the resource can carry', () => {
    const [condition] = STATUS.conditions;
    if (!condition) throw new Error('no condition');
    const long = { ...STATUS, conditions: [{ ...condition, message: 'x'.repeat(5_000) }] };
    const written = resourceStatus(long, { generation: 1, now: FIRST, before: null });
    expect(servingDeploymentStatus.safeParse(written).error).toBeUndefined();
  });
});
