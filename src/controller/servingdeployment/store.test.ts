import { describe, expect, it } from 'vitest';
import { parseManifests, type ServingDeployment } from '../../api/index.ts';
import { storeOf, storePart } from './store.ts';

interface Change {
  readonly name?: string;
  readonly namespace?: string;
  readonly spec?: Readonly<Record<string, unknown>>;
}

const SHARED = { redis: { url: 'redis://s' }, scope: 'Model' };

function user(store: object, { name = 'chat', namespace = 'team', spec = {} }: Change = {}): ServingDeployment {
  const header = { apiVersion: 'serving.sluice.dev/v1alpha1' };
  const tier = { ...header, kind: 'KVTier', metadata: { name: 'shared', namespace }, spec: { store } };
  const engine = { type: 'llamacpp' };
  const model = { name: 'm', source: '/models/a.gguf' };
  const whole = { model, engine, decode: {}, kv: { tierRef: { name: 'shared' } }, ...spec };
  const deployment = { ...header, kind: 'ServingDeployment', metadata: { name, namespace }, spec: whole };
  const result = parseManifests(`${JSON.stringify(tier)}\n---\n${JSON.stringify(deployment)}`, 'test.yaml');
  if (!result.ok || !result.deployments[0]) throw new Error(JSON.stringify(result));
  return result.deployments[0];
}

const part = (change: Change = {}) => storePart(user(SHARED, change));

describe('the part of a store', () => {
  it('is of one deployment unless its tier says otherwise', () => {
    expect(storePart(user({ redis: { url: 'redis://s' } }))).toBe('team.chat');
    expect(storePart(user({ redis: { url: 'redis://s' } }, { name: 'batch' }))).toBe('team.batch');
  });

  it('is of all that compute the same KV, whatever they are called and how many they are', () => {
    expect(part()).toMatch(/^team\.shared\.[0-9a-f]{16}$/);
    const other = {
      model: { name: 'other', source: '/models/a.gguf' },
      engine: { type: 'llamacpp', image: 'registry/engine:2', imagePullPolicy: 'Always' },
      prefill: { replicas: 3 },
      decode: { replicas: 2, resources: { limits: { cpu: '2' } } },
      kv: { tierRef: { name: 'shared' }, hbm: { capacity: '1Gi' }, host: { capacity: '2Gi' } },
      router: { saltHeader: 'x-tenant' },
    };
    expect(part({ name: 'batch', spec: other })).toBe(part());
  });

  it.each<[string, Change]>([
    ['another namespace', { namespace: 'rivals' }],
    ['other weights', { spec: { model: { name: 'm', source: '/models/b.gguf' } } }],
    ['another revision of them', { spec: { model: { name: 'm', source: '/models/a.gguf', revision: 'b' } } }],
    ['another engine', { spec: { engine: { type: 'sim' } } }],
    ['an argument of the engine', { spec: { engine: { type: 'llamacpp', args: ['--threads=2'] } } }],
    ['a variable of the engine', { spec: { engine: { type: 'llamacpp', env: { A: 'b' } } } }],
    [
      'a context of another length, which rotates positions otherwise in some models',
      { spec: { engine: { type: 'llamacpp', contextTokens: 4_096 } } },
    ],
    ['another number of sequences, which makes the context', { spec: { engine: { type: 'llamacpp', maxSequences: 3 } } }],
    ['blocks of another size', { spec: { kv: { tierRef: { name: 'shared' }, blockTokens: 32 } } }],
  ])('is another one with %s', (_, change) => {
    expect(part(change)).toMatch(/^(team|rivals)\.shared\.[0-9a-f]{16}$/);
    expect(part(change)).not.toBe(part());
  });

  it('of a simulated engine goes by the name of the model, which is all that its KV is', () => {
    const sim = (name: string, source: string) => part({ spec: { model: { name, source }, engine: { type: 'sim' } } });
    expect(sim('m', '/a.gguf')).toBe(sim('m', '/b.gguf'));
    expect(sim('m', '/a.gguf')).not.toBe(sim('n', '/a.gguf'));
  });

  it('is never that of a deployment: none can have a dot in its name', () => {
    expect(part()?.split('.')).toHaveLength(3);
    expect(storePart(user({ redis: { url: 'redis://s' } }))?.split('.')).toHaveLength(2);
  });
});

describe('a store as instances are told of it', () => {
  it('in Redis has its part as the space, and where the password is', () => {
    const store = { redis: { url: 'redis://s', passwordSecret: { name: 'words', key: 'p' }, ttl: '2h' }, scope: 'Model', capacity: '2Gi' };
    const told = storeOf(user(store));
    expect(told.storeSecret).toEqual({ name: 'words', key: 'p' });
    const space = storePart(user(store));
    expect(JSON.parse(told.store ?? '')).toEqual({ url: 'redis://s', space, ttlMs: 7_200_000, capacityBytes: 2 ** 31, tenantShare: 1 });
  });

  it('on disk has a folder for each part, so that each has the whole capacity', () => {
    const told = storeOf(user({ directory: { path: '/kv/' } }));
    expect([told.storePath, JSON.parse(told.store ?? '').path]).toEqual(['/kv/team.chat', '/kv/team.chat']);
    expect(storeOf(user({ directory: { path: '/kv' }, scope: 'Model' })).storePath).toMatch(/^\/kv\/team\.shared\.[0-9a-f]{16}$/);
  });
});
