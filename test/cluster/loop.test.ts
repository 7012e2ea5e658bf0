/** A watch, a queue and apply as one small controller: every ConfigMap `source` has a copy of the same data, whatever happens. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CONFIG_MAPS, type ConfigMap, Reflector, WorkQueue } from '../../src/platform/kubernetes/index.ts';
import { startCluster, type TestCluster } from './apiserver.ts';
import { type Bed, openClient, until } from './bed.ts';

const BACKOFF = { firstMs: 50, maxMs: 500, factor: 2 };

describe('a controller', () => {
  let cluster: TestCluster;
  let bed: Bed;
  let namespace = '';
  let reflector: Reflector<ConfigMap>;
  let queue: WorkQueue;
  const failures: string[] = [];

  beforeAll(async () => {
    cluster = await startCluster();
    bed = await openClient(cluster.kubeconfig, 'copier');
    namespace = await cluster.admin.namespace('loop');
    reflector = new Reflector({ client: bed.client, resource: CONFIG_MAPS, scope: { namespace }, backoff: BACKOFF });
    queue = new WorkQueue({
      workers: 4,
      backoff: BACKOFF,
      onFailure: (_, error) => failures.push(String(error)),
      run: async (key, signal) => {
        const source = reflector.store.get(key);
        if (source === undefined) return { kind: 'done' };
        const { name, uid } = source.metadata;
        const ownerReferences = [{ apiVersion: 'v1', kind: 'ConfigMap', name, uid }];
        const copy = { metadata: { name: `${name}-copy`, namespace, ownerReferences }, data: source.data ?? {} };
        const applied = await bed.client.apply(CONFIG_MAPS, copy, { signal, attempts: 1, timeoutMs: 10_000 });
        if (applied.kind !== 'written') throw new Error(JSON.stringify(applied));
        return { kind: 'done' };
      },
    });
    reflector.start();
    await reflector.synced();
    reflector.store.subscribe((key) => {
      if (!key.endsWith('kube-root-ca.crt')) queue.add(key.replace(/-copy$/, ''));
    });
  });
  afterAll(async () => {
    await reflector.stop();
    await queue.stop(1_000);
    bed.close();
    await cluster.stop();
  });

  const value = (name: string) => reflector.store.get(`${namespace}/${name}`)?.data?.['value'];
  const put = async (name: string, data: string) => {
    const body = JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data: { value: data } });
    const path = `/api/v1/namespaces/${namespace}/configmaps/${name}?fieldManager=user`;
    await cluster.admin.demand('PATCH', path, { body, contentType: 'application/apply-patch+yaml' });
  };
  const names = Array.from({ length: 30 }, (_, index) => `s${index}`);
  const converged = (expected: (name: string) => string) =>
    until(
      () => names.every((name) => value(`${name}-copy`) === expected(name)) && queue.depth().running + queue.depth().waiting === 0,
      () =>
        `${JSON.stringify(queue.depth())} ${names.filter((name) => value(`${name}-copy`) !== expected(name)).join(' ')} ${failures.slice(-3).join('; ')}`,
    );

  it('makes, changes and repairs copies', async () => {
    await Promise.all(names.map((name) => put(name, `${name} first`)));
    await converged((name) => `${name} first`);
    await bed.client.delete(CONFIG_MAPS, { name: 's3-copy', namespace });
    await put('s4', 's4 second');
    await converged((name) => (name === 's4' ? 's4 second' : `${name} first`));
    expect(failures).toEqual([]);
  });

  it('comes through an API server that is killed while it works', async () => {
    await Promise.all(names.map((name) => put(name, `${name} third`)));
    await cluster.apiServer.kill();
    await until(
      () => !reflector.state().watching,
      () => 'still watching',
    );
    queue.add(`${namespace}/s0`);
    await until(
      () => failures.length > 0,
      () => 'no failure',
    );
    await cluster.restart();
    await converged((name) => `${name} third`);
    expect(failures).toContainEqual(expect.stringMatching(/cannot be reached|did not answer/));
  });

  it('does not fight with another owner of a field', async () => {
    failures.length = 0;
    const path = `/api/v1/namespaces/${namespace}/configmaps/s5-copy?fieldManager=other&force=true`;
    const body = JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 's5-copy' }, data: { value: 'mine' } });
    await cluster.admin.demand('PATCH', path, { body, contentType: 'application/apply-patch+yaml' });
    await until(
      () => failures.length >= 3,
      () => `only ${failures.length} failures`,
    );
    expect(failures.at(-1)).toMatch('"manager":"other","field":".data.value"');
    expect(value('s5-copy')).toBe('mine');
  });
});
