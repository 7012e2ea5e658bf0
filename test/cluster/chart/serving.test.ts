/**
 * An operator of one namespace, with the arguments and the rights that the chart gives it, does its work there; `helm test` sends its
 * request. Pods are processes here, and a proxy stands in for the cluster's names and Services.
 */
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import type { Pod } from '../../../src/platform/kubernetes/index.ts';
import { expressions, seriesOf } from '../../monitoring.ts';
import { Admin } from '../admin.ts';
import { type Bed, openClient, until } from '../bed.ts';
import { ProcessKubelet } from '../kubelet.ts';
import { installCrds, OperatorProcess, SLOW_MS } from '../operatorbed.ts';
import { CHART, Helm } from './helm.ts';

vi.setConfig({ testTimeout: 2 * SLOW_MS, hookTimeout: SLOW_MS });

const MAIN = fileURLToPath(new URL('../../../src/cli/main.ts', import.meta.url));
const ROUTER_PORT = 8080;

const admin = new Admin(inject('kubeconfig'));
const helm = new Helm(inject('kubeconfig'));
let release = '';
let watched = '';
let client: Bed;
let kubelet: ProcessKubelet;
let proxy: Server;
let operator: OperatorProcess;

interface Deployment {
  readonly spec: {
    readonly template: {
      readonly spec: { readonly serviceAccountName: string; readonly containers: readonly { readonly args: string[] }[] };
    };
  };
}

/** A router that is ready of the Service `name`. */
async function routerOf(name: string): Promise<string | null> {
  const service = await admin.request('GET', `/api/v1/namespaces/${watched}/services/${name}`);
  if (service.status !== 200) return null;
  const { spec }: { readonly spec: { readonly selector: Readonly<Record<string, string>> } } = JSON.parse(service.body);
  const labels = Object.entries(spec.selector).map(([label, value]) => `${label}=${value}`);
  const path = `/api/v1/namespaces/${watched}/pods?labelSelector=${encodeURIComponent(labels.join(','))}`;
  const { items } = await admin.demand<{ readonly items: readonly Pod[] }>('GET', path);
  const ready = items.find(({ status }) => status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True'));
  return ready?.status?.podIP ?? null;
}

function startProxy(): Promise<Server> {
  const server = createServer();
  server.on('connect', (request, socket) => {
    const [host = '', port] = (request.url ?? '').split(':');
    const name = host.replace(`.${watched}.svc`, '');
    socket.on('error', () => socket.destroy());
    const forward = async () => {
      const address = await routerOf(name);
      if (address === null || port !== '80') return void socket.end('HTTP/1.1 502 no such service\r\n\r\n');
      const upstream = connect(ROUTER_PORT, address, () => {
        socket.write('HTTP/1.1 200 ok\r\n\r\n');
        socket.pipe(upstream).pipe(socket);
      });
      upstream.on('error', () => socket.destroy());
    };
    forward().catch(() => socket.destroy());
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

/** As the garbage collector does, which is not here: what the deployment of the test owned goes with it. */
async function sweep(): Promise<void> {
  const paths = ['/api/v1', '/apis/policy/v1', '/apis/serving.sluice.dev/v1alpha1'].map((root) => `${root}/namespaces/${watched}`);
  const [own = '', policy = '', serving = ''] = paths;
  const all = [`${own}/services`, `${policy}/poddisruptionbudgets`, `${serving}/servingpools`, `${own}/pods`];
  for (const path of all) await admin.demand('DELETE', path);
  await until(
    async () => (await admin.demand<{ readonly items: readonly unknown[] }>('GET', `${own}/pods`)).items.length === 0,
    () => 'pods are still there',
    SLOW_MS,
  );
}

function proxyUrl(): string {
  const { port } = proxy.address() as AddressInfo;
  return `http://127.0.0.1:${port}`;
}

beforeAll(async () => {
  await installCrds(admin);
  release = await admin.namespace('release');
  watched = await admin.namespace('watched');
  client = await openClient(inject('kubeconfig'), 'kubelet');
  proxy = await startProxy();
  const node = ['/usr/bin/env', 'NODE_USE_ENV_PROXY=1', `HTTP_PROXY=${proxyUrl()}`, process.execPath];
  const programs = { sluice: [process.execPath, MAIN], node };
  kubelet = new ProcessKubelet({ admin, client: client.client, namespace: watched, programs, speed: 2 });
  await kubelet.start();
  await helm.demand('install', 'one', CHART, '-n', release, '--set', `crds.install=false,rbac.aggregate=false,watchNamespace=${watched}`);
  const installed = await admin.demand<Deployment>('GET', `/apis/apps/v1/namespaces/${release}/deployments/one-sluice-operator`);
  const { serviceAccountName, containers } = installed.spec.template.spec;
  const kubeconfig = await admin.serviceAccount(release, serviceAccountName);
  const [, ...args] = containers[0]?.args ?? [];
  const here = args.map((word) => (word === '$(POD_IP)' ? '127.0.0.1' : word === '8081' ? '0' : word));
  operator = new OperatorProcess([...here, '--kubeconfig', kubeconfig]);
});
afterAll(async () => {
  await operator.end('SIGTERM');
  await kubelet.stop();
  client.close();
  proxy.close();
  proxy.closeAllConnections();
  await helm.run('uninstall', 'one', '-n', release);
  helm.close();
});

describe('a release for one namespace', () => {
  it('leads by a Lease of that namespace', async () => {
    await operator.said('rounds begin');
    const leases = (namespace: string) => `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/sluice-operator`;
    expect((await admin.request('GET', leases(watched))).status).toBe(200);
    expect((await admin.request('GET', leases(release))).status).toBe(404);
  });

  it('passes helm test, which leaves nothing behind', async () => {
    const said = await helm.demand('test', 'one', '-n', release, '--timeout', `${SLOW_MS}ms`);
    expect(said).toMatch(/Phase:\s+Succeeded/);
    const gone = async (path: string) => (await admin.request('GET', path)).status === 404;
    const namespaced = `/namespaces/${watched}`;
    expect(await gone(`/apis/serving.sluice.dev/v1alpha1${namespaced}/servingdeployments/test-one-sluice`)).toBe(true);
    await until(
      () => gone(`/api/v1${namespaced}/pods/test-one-sluice`),
      () => 'the pod of the test is still there',
    );
  });

  it('fails helm test when no answer comes', async () => {
    await sweep();
    await helm.demand('upgrade', 'one', CHART, '-n', release, '--reuse-values', '--set', 'test.timeoutSeconds=10');
    // No pool can be started, so none of the routers is ever ready.
    kubelet.failPull(({ metadata }) => metadata.name !== 'test-one-sluice');
    const { code, stderr } = await helm.run('test', 'one', '-n', release, '--timeout', `${SLOW_MS}ms`);
    expect([code, stderr]).toEqual([1, expect.stringContaining('test-one-sluice failed')]);
    expect(kubelet.logs('test-one-sluice')).toContain('no answer within 10 s; kubectl describe sd tells what it waits for');
  });
});

describe('alerts and dashboard', () => {
  it('ask for what operator really exports', async () => {
    const url = String((await operator.said('listens'))['url']);
    const text = await (await fetch(`${url}/metrics`)).text();
    const wanted = expressions()
      .flatMap((one) => seriesOf(one.text))
      .filter((name) => name.startsWith('sluice_operator_'));
    const missing = wanted.filter((name) => !new RegExp(`^${name}[{ ]`, 'm').test(text));
    expect([wanted.length > 5, missing]).toEqual([true, []]);
  });
});
