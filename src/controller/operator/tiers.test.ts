import { describe, expect, it } from 'vitest';
import type { DeploymentObject, PoolObject, TierObject } from './resources.ts';
import { chooseTier, namedTier, noteOf, OWN, type Source, takenUp, tierDifferences } from './tiers.ts';
import { wantedOf } from './wanted.ts';

const API = 'serving.sluice.dev/v1alpha1';
const REDIS = { redis: { urls: ['redis://r'] } };

function tier(spec: unknown = REDIS, metadata: Partial<TierObject['metadata']> = {}): TierObject {
  return {
    apiVersion: API,
    kind: 'KVTier',
    metadata: { name: 'shared', namespace: 'team', uid: 't', resourceVersion: '1', generation: 4, ...metadata },
    spec,
  };
}

function deployment(kv: object, change: object = {}): DeploymentObject {
  const spec = { model: { name: 'm' }, engine: { type: 'sim' }, prefill: {}, decode: {}, kv, ...change };
  return {
    apiVersion: API,
    kind: 'ServingDeployment',
    metadata: { name: 'chat', namespace: 'team', uid: 'u', resourceVersion: '1' },
    spec,
  };
}

const NAMES = { tierRef: { name: 'shared' } };

function found(object: TierObject, taken: Source | null = null): Source {
  const { source } = chooseTier('shared', 'team', object, taken);
  if (source === null) throw new Error('nothing was found');
  return source;
}

/** Pools as the API server would have them, made of what a deployment wants. */
function pools(object: DeploymentObject, source: Source): PoolObject[] {
  const wanted = wantedOf(object, { image: 'i', operatorPeers: null }, source);
  if ('errors' in wanted) throw new Error(wanted.errors.join('; '));
  return Object.values(wanted.pools).map(({ metadata, spec }) => ({
    apiVersion: API,
    kind: 'ServingPool',
    metadata: { ...metadata, uid: 'p', resourceVersion: '1' },
    ...(spec && { spec }),
  }));
}

function revisions(object: DeploymentObject, source: Source): (string | undefined)[] {
  const wanted = wantedOf(object, { image: 'i', operatorPeers: null }, source);
  if ('errors' in wanted) throw new Error(wanted.errors.join('; '));
  return [wanted.desired.pools.prefill?.revision, wanted.desired.pools.decode?.revision, wanted.desired.router.revision];
}

describe('the tier that counts', () => {
  it('is the one that is named, when it is there and sound', () => {
    expect(namedTier(deployment(NAMES).spec)).toBe('shared');
    expect([{}, null, 'x', { kv: null }, { kv: { tierRef: { name: 3 } } }].map(namedTier)).toEqual([null, null, null, null, null]);
    expect(chooseTier('shared', 'team', tier(), null)).toMatchObject({ source: { kind: 'tier', generation: 4 }, trouble: null });
  });

  it('is none while nothing was taken up: nothing is started, and what to do is said', () => {
    expect(chooseTier('shared', 'team', undefined, null)).toEqual({
      source: null,
      trouble: {
        reason: 'TierMissing',
        message:
          'KVTier shared is not there in namespace team: make it (kubectl apply), or let spec.kv.tierRef name another one; nothing is started until then',
      },
    });
    const invalid = chooseTier('shared', 'team', tier({ redis: { urls: [] } }), null);
    expect(invalid).toMatchObject({ source: null, trouble: { reason: 'TierInvalid' } });
    expect(invalid.trouble?.message).toMatch(/spec\.redis\.urls: expected .*: change that \(kubectl edit kvtier shared\)/);
  });

  it('is what was taken up before, when it goes, is going, or cannot be read', () => {
    const taken = found(tier());
    for (const object of [undefined, tier(REDIS, { deletionTimestamp: '2026-01-01T00:00:00Z' }), tier({})]) {
      const choice = chooseTier('shared', 'team', object, taken);
      expect(choice.source).toBe(taken);
      expect(choice.trouble?.message).toMatch(/; instances and routers go on with the servers that they were started with$/);
    }
  });
});

describe('what was taken up', () => {
  it('stands on the pools, so that an operator that knows nothing replaces nothing', () => {
    const object = deployment(NAMES);
    const source = found(tier());
    const again = takenUp(pools(object, source));
    expect(again).toEqual(source);
    expect(revisions(object, again ?? OWN)).toEqual(revisions(object, source));
  });

  it('is the deployment’s own kv of before, when it names a tier that never was', () => {
    const before = deployment({ redis: { urls: ['redis://own'] }, store: { directory: { path: '/kv' } } });
    const taken = takenUp(pools(before, OWN));
    expect(taken).toMatchObject({ kind: 'earlier' });
    const now = deployment({ ...NAMES, lease: '30s' });
    expect(revisions(now, taken ?? OWN)).toEqual(revisions(before, OWN));
    // The same again from pools that were written meanwhile.
    expect(revisions(now, takenUp(pools(now, taken ?? OWN)) ?? OWN)).toEqual(revisions(before, OWN));
  });

  it('is nothing where nobody said it, or somebody else wrote it', () => {
    expect(takenUp([])).toBeNull();
    const [pool] = pools(deployment(NAMES), found(tier()));
    if (!pool) throw new Error('no pool');
    for (const note of ['', '{', '{"name":"shared","spec":{}}', 'null']) {
      expect(takenUp([{ ...pool, metadata: { ...pool.metadata, annotations: { 'serving.sluice.dev/kv-tier': note } } }])).toBeNull();
    }
    expect(noteOf(OWN)).toEqual({});
  });
});

it('an edit of a tier is told by its fields', () => {
  const [was, now] = [found(tier()), found(tier({ redis: { urls: ['redis://r'], budget: '9ms' } }, { generation: 5 }))];
  expect(tierDifferences(was, now)).toEqual(['KVTier shared spec.redis.budget']);
  expect(tierDifferences(was, found(tier(REDIS, { name: 'other' })))).toEqual([]);
  expect(tierDifferences(OWN, now)).toEqual([]);
});
