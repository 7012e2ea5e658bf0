import { describe, expect, it } from 'vitest';
import { readResource, readTier, type ServingDeployment, withTier } from '../../api/index.ts';
import { changesOf } from './changes.ts';

function deployment(change: Readonly<Record<string, unknown>> = {}): ServingDeployment {
  const spec = { model: { name: 'm' }, engine: { type: 'sim' }, prefill: { replicas: 1 }, decode: { replicas: 2 }, ...change };
  const read = readResource({
    apiVersion: 'serving.sluice.dev/v1alpha1',
    kind: 'ServingDeployment',
    metadata: { name: 'chat', namespace: 'team' },
    spec,
  });
  if (!read.ok) throw new Error(read.errors.join('; '));
  return read.deployment;
}

function parts(change: Readonly<Record<string, unknown>>, kind: 'pods' | 'processes' = 'pods') {
  const changes = changesOf(deployment(), deployment(change), kind);
  return Object.fromEntries(changes.parts.map(({ part, before, after, because }) => [part, [before, after, because.join(' ')]]));
}

const NOTHING = { prefill: [1, 1, ''], decode: [2, 2, ''], router: [1, 1, ''] };

describe('what a change would do', () => {
  it('is nothing when nothing changes, and everything at the beginning', () => {
    expect(parts({})).toEqual(NOTHING);
    expect(parts({ slo: { ttft: { p99: '1s' } }, network: { policies: 'None' }, router: { service: { port: 81 } } })).toEqual(NOTHING);
    expect(changesOf(null, deployment(), 'pods').parts).toEqual([
      { part: 'prefill', before: 0, after: 1, because: [] },
      { part: 'decode', before: 0, after: 2, because: [] },
      { part: 'router', before: 0, after: 1, because: [] },
    ]);
  });

  it('names the fields that replace instances, of the role that has them', () => {
    expect(parts({ engine: { type: 'sim', args: ['-x'], env: { A: 'b' } } })).toEqual({
      ...NOTHING,
      prefill: [1, 1, 'spec.engine.args spec.engine.env'],
      decode: [2, 2, 'spec.engine.args spec.engine.env'],
    });
    const decode = {
      replicas: 2,
      resources: { limits: { cpu: '1' } },
      podOverrides: { labels: { a: 'b' } },
      sim: { costs: { stepFixed: 3 } },
    };
    expect(parts({ decode })).toEqual({
      ...NOTHING,
      decode: [2, 2, 'the costs of sim spec.decode.resources.limits.cpu spec.decode.podOverrides.labels.a'],
    });
  });

  it('leaves instances alone where only their number changes, and follows roles that come and go', () => {
    expect(parts({ decode: { replicas: 5 } })).toEqual({ ...NOTHING, decode: [2, 5, ''] });
    expect(parts({ prefill: undefined })).toEqual({ prefill: [1, 0, ''], decode: [2, 0, ''], mixed: [0, 2, ''], router: [1, 1, ''] });
  });

  it('names the fields that replace routers; on one machine also the address', () => {
    const router = { port: 8_000, limits: { queue: 9 }, deadlines: { idle: '20s' } };
    expect(parts({ router })).toEqual({ ...NOTHING, router: [1, 1, 'spec.router.limits.queue spec.router.deadlines.idle'] });
    expect(parts({ router }, 'processes')['router']?.[2]).toMatch(/^spec\.router\.port /);
    const tracing = { endpoint: 'http://otel-collector:4318' };
    expect(parts({ router: { tracing } })).toEqual({ ...NOTHING, router: [1, 1, 'spec.router.tracing'] });
  });

  it('names what instances and routers are told of the servers of the KV tier', () => {
    const redis = { urls: ['redis://a'], budget: '5ms', credentials: { secret: 's' } };
    const part = (kv: object) => {
      const was = deployment({ kv: { redis } });
      return changesOf(was, deployment({ kv }), 'pods').parts.map(({ because }) => because.join(' '));
    };
    const all = (because: string) => [because, because, because];
    expect(part({ redis })).toEqual(all(''));
    expect(part({ redis: { ...redis, budget: '9ms' } })).toEqual(all('spec.kv.redis.budget'));
    expect(part({ redis: { ...redis, credentials: { secret: 't' } } })).toEqual(all('spec.kv.redis.credentials.secret'));
    expect(part({ redis, nats: { urls: ['nats://a'] } })).toEqual(all('spec.kv.nats'));
    const store = { directory: { path: '/kv' } };
    expect(part({ redis, store })).toEqual(['spec.kv.store', 'spec.kv.store', '']);
  });

  it('names fields of a KVTier where they are written', () => {
    const tier = (spec: object) => {
      const read = readTier({
        apiVersion: 'serving.sluice.dev/v1alpha1',
        kind: 'KVTier',
        metadata: { name: 'shared', namespace: 'team' },
        spec,
      });
      if (!read.ok) throw new Error(read.errors.join('; '));
      return withTier(deployment({ kv: { tierRef: { name: 'shared' } } }), read.tier);
    };
    const because = (before: object, after: object) =>
      changesOf(tier(before), tier(after), 'pods').parts.map((part) => part.because.join(' '));
    const redis = { urls: ['redis://a'] };
    expect(because({ redis }, { redis })).toEqual(['', '', '']);
    const urls = 'KVTier shared spec.redis.urls';
    expect(because({ redis }, { redis: { urls: ['redis://b'] } })).toEqual([urls, urls, urls]);
    const store = { directory: { path: '/kv' } };
    expect(because({ redis, store }, { redis, store: { ...store, scope: 'Model' } })).toEqual([
      'KVTier shared spec.store',
      'KVTier shared spec.store',
      '',
    ]);
    // The same servers, written down elsewhere, replace nothing.
    const own = deployment({ kv: { redis } });
    expect(changesOf(own, tier({ redis }), 'pods').parts.map((part) => part.because)).toEqual([[], [], []]);
  });

  it('says when old and new cannot exchange KV', () => {
    expect(changesOf(deployment(), deployment({ kv: { blockTokens: 32 } }), 'pods').newFamily).toBe(true);
    expect(changesOf(deployment(), deployment({ kv: { lease: '20s' } }), 'pods').newFamily).toBe(false);
  });
});
