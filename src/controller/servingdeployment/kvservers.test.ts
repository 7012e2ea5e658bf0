import { expect, it } from 'vitest';
import { parseManifests, type ServingDeployment } from '../../api/index.ts';
import { desiredOf } from './desired.ts';
import { kvServersOf } from './kvservers.ts';

function deployment(kv: string): ServingDeployment {
  const result = parseManifests(
    `apiVersion: serving.sluice.dev/v1alpha1
kind: ServingDeployment
metadata: {name: chat, namespace: serving}
spec: {model: {name: m}, engine: {type: sim}, decode: {}, kv: ${kv}}
`,
    'test.yaml',
  );
  const [first] = result.ok ? result.deployments : [];
  if (!first) throw new Error('the manifest is not sound');
  return first;
}

const SECRETS = '{redis: {urls: ["rediss://r:1"], credentials: {secret: words}}, nats: {urls: ["nats://n"], credentials: {env: KV}}}';

it('is nothing without servers', () => {
  expect(kvServersOf(deployment('{}'), 'processes')).toBeNull();
  expect(desiredOf(deployment('{}'))).toMatchObject({ kv: [] });
  expect(desiredOf(deployment('{}')).router.spec).not.toHaveProperty('kv');
});

it('says where hidden words are, never the words', () => {
  const servers = kvServersOf(deployment(SECRETS), 'pods');
  expect(servers?.secrets).toEqual([{ volume: 'kv-redis', secret: 'words', folder: '/etc/sluice/kv/redis' }]);
  expect(JSON.parse(servers?.settings ?? '')).toEqual({
    space: 'serving.chat',
    redis: { kind: 'single', urls: ['rediss://r:1'], credentials: { folder: '/etc/sluice/kv/redis' }, prefix: 'sluice:', budgetMs: 5 },
    nats: { urls: ['nats://n'], credentials: { env: 'KV' }, prefix: 'sluice', maxBytes: 2 ** 26, maxAgeMs: 600_000, replicas: 1 },
  });
});

it('leaves Secrets as they are where there are none, so that whoever reads them says so', () => {
  const servers = kvServersOf(deployment(SECRETS), 'processes');
  expect(servers?.secrets).toEqual([]);
  expect(JSON.parse(servers?.settings ?? '').redis.credentials).toEqual({ secret: 'words' });
});

it('replaces instances and routers when the servers change', () => {
  const [none, some] = [desiredOf(deployment('{}')), desiredOf(deployment(SECRETS))];
  expect(some.kv).toEqual(['redis', 'nats']);
  expect(some.pools.mixed?.revision).not.toBe(none.pools.mixed?.revision);
  expect(some.router.revision).not.toBe(none.router.revision);
  expect(some.family).toBe(none.family);
});
