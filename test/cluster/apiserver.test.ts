/** The harness itself. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startCluster, type TestCluster } from './apiserver.ts';
import { until } from './bed.ts';

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

  it('dies with whoever started it, even by SIGKILL', async () => {
    const module = new URL('./apiserver.ts', import.meta.url).href;
    const script = `const { startCluster } = await import(${JSON.stringify(module)});
      const { folder, etcd, apiServer } = await startCluster();
      console.log(JSON.stringify({ folder, pids: [etcd.pid, apiServer.pid] }));
      setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = await once(child.stdout, 'data');
    const { folder, pids }: { readonly folder: string; readonly pids: readonly number[] } = JSON.parse(String(line));
    child.kill('SIGKILL');
    const gone = (pid: number) => {
      try {
        process.kill(pid, 0);
        return false;
      } catch {
        return true; // ESRCH
      }
    };
    await until(
      () => pids.every(gone),
      () => `of ${pids.join(', ')} some live`,
    );
    rmSync(folder, { recursive: true });
  });
});
