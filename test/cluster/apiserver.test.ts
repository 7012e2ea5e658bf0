/** The harness itself. */
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startCluster, type TestCluster } from './apiserver.ts';

describe('a kube-apiserver of a test', () => {
  let cluster: TestCluster;
  let other: TestCluster;
  beforeAll(async () => {
    [cluster, other] = await Promise.all([startCluster(), startCluster()]);
  });
  afterAll(() => Promise.all([cluster.stop(), other.stop()]));

  const names = async (from: TestCluster) => (await from.admin.request('GET', '/api/v1/namespaces/default/configmaps')).body;
  const configMap = (name: string) => ({ body: { metadata: { name } } });

  it('stands beside another', async () => {
    expect((await cluster.admin.request('POST', '/api/v1/namespaces/default/configmaps', configMap('mine'))).status).toBe(201);
    expect(await names(cluster)).toContain('"mine"');
    expect(await names(other)).not.toContain('"mine"');
  });

  it('keeps port and data over a restart', async () => {
    const { server, apiServer: before } = cluster;
    await cluster.restart();
    expect(before.running).toBe(false);
    expect(cluster.server).toBe(server);
    expect(await names(cluster)).toContain('"mine"');
  });

  it('takes pods without the controllers that make ServiceAccounts', async () => {
    const pod = { metadata: { name: 'p' }, spec: { containers: [{ name: 'c', image: 'i' }] } };
    expect((await cluster.admin.request('POST', '/api/v1/namespaces/default/pods', { body: pod })).status).toBe(201);
  });

  it('leaves nothing behind', async () => {
    const third = await startCluster();
    const pids = [third.etcd.pid, third.apiServer.pid];
    await third.stop();
    await third.stop();
    expect(existsSync(third.folder)).toBe(false);
    for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  });
});
