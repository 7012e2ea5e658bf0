import { createServer } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../shared/index.ts';
import type { Pod } from './builtin.ts';
import { KubernetesClient } from './client.ts';
import { PodFleet } from './fleet.ts';
import { labelsOf } from './labels.ts';
import { PORTS } from './pods/container.ts';
import type { Transport } from './transport.ts';

const ADDRESS = '127.93.7.11';
const OWNER = { apiVersion: 'serving.sluice.dev/v1alpha1', kind: 'ServingDeployment', name: 'chat', uid: 'u', controller: true };
const ROUTER: Pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name: 'chat-router-0',
    namespace: 'n',
    uid: 'p',
    resourceVersion: '1',
    labels: labelsOf('chat', 'router'),
    ownerReferences: [OWNER],
  },
  status: {
    podIP: ADDRESS,
    containerStatuses: [
      { name: 'router', image: 'i', imageID: '', ready: true, restartCount: 0, state: { running: { startedAt: '2026-01-01T00:00:00Z' } } },
    ],
  },
};

/** Of an instance; ready, as it is asked who it is. */
const INSTANCE: Pod = {
  ...ROUTER,
  metadata: { ...ROUTER.metadata, name: 'chat-decode-0', uid: 'd', labels: labelsOf('chat', 'decode') },
  status: { ...ROUTER.status, podIP: '127.93.7.12' },
};

function ready(pod: Pod): Pod {
  return { ...pod, status: { ...pod.status, conditions: [{ type: 'Ready', status: 'True' }] } };
}

/** An API server that has these pods and says nothing more. */
function listing(pods: readonly Pod[]): Transport {
  const silent = (signal: AbortSignal) =>
    new ReadableStream<Uint8Array>({ start: (controller) => signal.addEventListener('abort', () => controller.close(), { once: true }) });
  return {
    send({ path, signal }) {
      const list = JSON.stringify({ metadata: { resourceVersion: '1' }, items: pods });
      const body = path.includes('watch=true') ? silent(signal) : ReadableStream.from([Buffer.from(list)]);
      return Promise.resolve({ status: 200, retryAfter: null, body });
    },
    close: () => {},
  };
}

describe('the pods of all deployments', () => {
  it('are asked who they are until they say so, but routers never: a thousand of them would be asked every half a minute', async () => {
    const asked: string[] = [];
    let isUp = false;
    const servers = [ROUTER, INSTANCE].map(({ metadata, status }) => {
      const server = createServer((_request, response) => {
        asked.push(metadata.name);
        const hello = { incarnation: 'i', transfer: { host: status?.podIP, port: 1 } };
        response.writeHead(isUp ? 200 : 503).end(JSON.stringify(hello));
      });
      return { server, address: status?.podIP ?? '' };
    });
    for (const { server, address } of servers) await new Promise<void>((resolve) => server.listen(PORTS.instance, address, resolve));
    const clock = new FakeClock();
    const client = new KubernetesClient({ transport: listing([ready(ROUTER), ready(INSTANCE)]), fieldManager: 'test', clock });
    const fleet = new PodFleet({ client, scope: {}, clock, random: () => 0, leads: () => true });
    try {
      fleet.start();
      await fleet.synced();
      await expect.poll(() => asked).toEqual(['chat-decode-0']);
      isUp = true;
      const later = () => {
        clock.advance(1_000);
        return fleet.hellos.of(ready(INSTANCE));
      };
      await expect.poll(later).toMatchObject({ incarnation: 'i' });
      expect(asked).toEqual(['chat-decode-0', 'chat-decode-0']);
    } finally {
      await fleet.stop();
      for (const { server } of servers) server.close();
    }
  });
});

describe('the platform', () => {
  const puts: string[] = [];
  const router = createServer((request, response) => {
    if (request.method === 'PUT') puts.push(request.url ?? '');
    response.end(JSON.stringify({ generation: 1, instances: [] }));
  });
  afterEach(() => router.close());

  it('tells routers nothing when this process does not lead any more, not even in the middle of a step', async () => {
    await new Promise<void>((resolve) => router.listen(PORTS.routerAdmin, ADDRESS, resolve));
    let leads = true;
    const transport = { send: () => Promise.reject(new Error('no API server here')), close: () => {} };
    const client = new KubernetesClient({ transport, fieldManager: 'test' });
    const fleet = new PodFleet({ client, scope: {}, clock: new FakeClock(), leads: () => leads });
    fleet.wrote(ROUTER);
    const platform = fleet.platform({ namespace: 'n', name: 'chat', deployment: OWNER, pools: {} });
    const tell = () => platform.apply({ type: 'publishInstances', router: 'router-0', model: 'm', instances: [], reason: 'test' });
    expect(await tell()).toEqual({ ok: true });
    leads = false;
    expect(await tell()).toMatchObject({ ok: false, message: expect.stringContaining('does not lead any more') });
    expect(puts).toEqual(['/admin/instances']);
  });
});
