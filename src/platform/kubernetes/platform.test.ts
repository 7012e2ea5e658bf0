import { createServer } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../shared/index.ts';
import type { Pod } from './builtin.ts';
import { KubernetesClient } from './client.ts';
import { PodFleet } from './fleet.ts';
import { labelsOf } from './labels.ts';
import { PORTS } from './pods/container.ts';

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
