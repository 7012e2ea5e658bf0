import { describe, expect, it } from 'vitest';
import { type KvTierManifest, kvTierStatus, readResource, readTier, type ServingDeploymentStatus } from '../../api/index.ts';
import type { DeploymentObject } from '../operator/resources.ts';
import { partsOf, type TierUse, useOf } from './plan.ts';
import { tierStatus } from './status.ts';

const TIER = { name: 'shared', generation: 3 };
const NOW = '2026-01-02T03:04:05Z';

function condition(type: string, status: 'True' | 'False', reason: string, message = 'm') {
  return { type, status, reason, message, lastTransitionTime: NOW };
}

function user(status: ServingDeploymentStatus, spec: object = {}): DeploymentObject {
  const metadata = { name: 'chat', namespace: 'team', uid: 'u', resourceVersion: '1', generation: 7 };
  const whole = { model: { name: 'm' }, engine: { type: 'sim' }, decode: {}, kv: { tierRef: { name: 'shared' } }, ...spec };
  return { apiVersion: 'serving.sluice.dev/v1alpha1', kind: 'ServingDeployment', metadata, spec: whole, status };
}

const WELL: ServingDeploymentStatus = {
  observedGeneration: 7,
  kvTier: TIER,
  conditions: [condition('KVTierReady', 'True', 'Connected'), condition('Reconciling', 'False', 'Settled')],
};

describe('what a user says of the tier', () => {
  const says = (change: ServingDeploymentStatus) => {
    const { ready, reason } = useOf(user({ ...WELL, ...change }), TIER);
    return [ready, reason];
  };

  it('is its own word', () => {
    expect(says({})).toEqual(['True', 'Connected']);
    expect(says({ conditions: [condition('KVTierReady', 'False', 'NatsAway')] })).toEqual(['False', 'NatsAway']);
    expect(says({ conditions: [condition('Stalled', 'True', 'InvalidSpec')] })).toEqual(['False', 'InvalidSpec']);
  });

  it('does not count before it has taken up the spec of now, on all that runs', () => {
    expect(useOf({ ...user(WELL), metadata: { ...user(WELL).metadata, generation: 8 } }, TIER)).toMatchObject({
      ready: 'Unknown',
      reason: 'NotSaid',
    });
    expect(says({ kvTier: { name: 'shared', generation: 2 } })).toEqual(['Unknown', 'NotSaid']);
    expect(says({ kvTier: { name: 'other', generation: 3 } })).toEqual(['Unknown', 'NotSaid']);
    const paused = [condition('KVTierReady', 'True', 'Connected'), condition('Reconciling', 'False', 'Paused')];
    expect(says({ kvTier: { name: 'shared', generation: 2 }, conditions: paused })).toEqual(['Unknown', 'Paused']);
    const rolling = [condition('KVTierReady', 'True', 'Connected'), condition('Reconciling', 'True', 'Rolling')];
    expect(says({ conditions: rolling })).toEqual(['Unknown', 'Rolling']);
    expect(says({ conditions: [condition('KVTierReady', 'False', 'NotSaid')] })).toEqual(['Unknown', 'NotSaid']);
    expect(says({ conditions: [] })).toEqual(['Unknown', 'NotSaid']);
  });

  it('counts while it scales: that is no matter of the tier', () => {
    const scaling = [condition('KVTierReady', 'True', 'Connected'), condition('Reconciling', 'True', 'Starting')];
    expect(says({ conditions: scaling })).toEqual(['True', 'Connected']);
  });
});

const spec: KvTierManifest['spec'] = {
  store: { redis: { url: 'redis://s', ttl: '1h' }, scope: 'Model', capacity: '4Gi', tenantShare: 1 },
};
const use = (name: string, ready: TierUse['ready'], reason = 'Connected'): TierUse => ({ name, ready, reason, message: `${name} says` });

function told(users: readonly TierUse[], errors: readonly string[] = []) {
  const seen = { spec: errors.length > 0 ? null : spec, errors, users, parts: 2 };
  const status = tierStatus(seen, { generation: 3, now: NOW, before: null });
  // What the API server would take.
  expect(kvTierStatus.safeParse(status).error).toBeUndefined();
  return { status, conditions: Object.fromEntries((status.conditions ?? []).map((one) => [one.type, [one.status, one.reason]])) };
}

describe('the status of a tier', () => {
  it('is ready when every user says so, and not before', () => {
    expect(told([use('a', 'True'), use('b', 'True')])).toMatchObject({
      status: { observedGeneration: 3, usersReady: '2/2', userCount: 2, parts: 2, store: 'redis://s, 4Gi per model' },
      conditions: { Ready: ['True', 'UsersReady'], Reconciling: ['False', 'Settled'], Stalled: ['False', 'NothingKeepsFailing'] },
    });
    const { status, conditions } = told([use('a', 'True'), use('b', 'False', 'NatsAway')]);
    expect(conditions['Ready']).toEqual(['False', 'UserNotReady']);
    expect(status.conditions?.[0]?.message).toBe('1 of 2 ServingDeployments that name it cannot use it: b (NatsAway: b says)');
    expect(status.users?.map(({ name }) => name)).toEqual(['b', 'a']);
  });

  it('goes on while users take it up', () => {
    const { conditions } = told([use('a', 'True'), use('b', 'Unknown', 'Rolling')]);
    expect(conditions).toMatchObject({ Ready: ['False', 'UsersRolling'], Reconciling: ['True', 'UsersRolling'] });
    expect(told([use('a', 'False', 'RedisAway'), use('b', 'Unknown', 'Rolling')]).conditions['Ready']).toEqual(['False', 'UserNotReady']);
  });

  it('is ready while nobody uses it, and says that nobody has tried', () => {
    expect(told([])).toMatchObject({
      status: { usersReady: '0/0' },
      conditions: { Ready: ['True', 'Unused'], Reconciling: ['False', 'Settled'] },
    });
  });

  it('that cannot be acted on is for good until it is mended', () => {
    const { status, conditions } = told([use('a', 'False', 'TierInvalid')], ['spec.redis.urls: expected a list']);
    expect(conditions).toEqual({
      Ready: ['False', 'InvalidSpec'],
      Stalled: ['True', 'InvalidSpec'],
      Reconciling: ['False', 'InvalidSpec'],
    });
    expect(status).not.toHaveProperty('store');
  });

  it('names as many users as it may, the others it counts', () => {
    const many = Array.from({ length: 300 }, (_, index) => use(`u${index}`, index === 299 ? 'False' : 'True'));
    const { status } = told(many);
    expect([status.users?.length, status.userCount, status.usersReady, status.users?.[0]?.name]).toEqual([256, 300, '299/300', 'u299']);
    const failing = told(many.map((one) => ({ ...one, ready: 'False' as const }))).status.conditions?.[0]?.message ?? '';
    expect(failing).toMatch(/; and 292 more$/);
  });

  it('counts parts of the store by what can share', () => {
    const read = readTier({
      apiVersion: 'serving.sluice.dev/v1alpha1',
      kind: 'KVTier',
      metadata: { name: 'shared', namespace: 'team' },
      spec,
    });
    if (!read.ok) throw new Error(read.errors.join());
    const other = user(WELL, { model: { name: 'other' } });
    const deployments = [user(WELL), user(WELL), other, user(WELL, { engine: { type: 'vllm' } })].map((object) => {
      const one = readResource(object);
      if (!one.ok) throw new Error(one.errors.join());
      return one.deployment;
    });
    expect(partsOf(deployments, read.tier)).toBe(2);
  });
});
