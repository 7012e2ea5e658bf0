/** The network policy of the operator under a real enforcer: what it needs is open, the rest is closed. */
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import type { Service } from '../../../src/platform/kubernetes/index.ts';
import { Admin } from '../admin.ts';
import { listeningPod, type Reach, settledReach } from './probes.ts';
import { Release, SYSTEM } from './release.ts';
import { sample, Tenant } from './tenant.ts';

/** As the operator is told apart from others. */
const OPERATOR = { 'app.kubernetes.io/name': 'sluice', 'app.kubernetes.io/instance': 'sluice', 'app.kubernetes.io/component': 'operator' };

describe('the network policy of the operator', () => {
  const { kubeconfig, addresses } = inject('node');
  const admin = new Admin(kubeconfig);
  const name = 'llama-cpp-cpu';
  let release: Release;
  let tenant: Tenant;
  let engine = '';
  let router = '';
  let stranger = '';
  let apiService = '';
  beforeAll(async () => {
    release = await Release.install(admin, kubeconfig);
    tenant = await Tenant.open(admin, kubeconfig);
    await tenant.apply(name, { ...sample(name), engine: { type: 'sim' } });
    await tenant.settled(name);
    engine = (await tenant.pods(name, 'decode'))[0]?.status?.podIP ?? '';
    router = (await tenant.pods(name, 'router'))[0]?.status?.podIP ?? '';
    stranger = await listeningPod(admin, { namespace: tenant.namespace, labels: {}, ports: [8000, 8081] });
    const service = await admin.demand<Service>('GET', '/api/v1/namespaces/default/services/kubernetes');
    apiService = service.spec?.clusterIP ?? '';
  });
  afterAll(async () => {
    await tenant?.close();
    await release?.close();
  });

  /** What one labelled as the operator must and must not reach. */
  const outwards = (): Reach => ({
    [`${apiService}:443`]: true,
    [`${addresses.node}:6443`]: true,
    [`${addresses.dns}:53`]: true,
    [`${engine}:8000`]: true,
    [`${router}:8081`]: true,
    [`${router}:8080`]: false,
    [`${stranger}:8000`]: false,
    [`${stranger}:8081`]: false,
    [`${addresses.node}:10250`]: false,
  });

  it('lets it reach the API server, names, engines and routers, and nothing else', async () => {
    const expected = outwards();
    expect(await settledReach(admin, { namespace: SYSTEM, labels: OPERATOR, expected })).toEqual(expected);
  });

  it('is what closes the rest: a pod that it does not select reaches all of it', async () => {
    const expected = Object.fromEntries(Object.keys(outwards()).map((target) => [target, true]));
    expect(await settledReach(admin, { namespace: SYSTEM, labels: {}, expected })).toEqual(expected);
  });

  it('lets others reach its health and metrics, and no other port', async () => {
    const ports = [8081, 9999];
    const covered = await listeningPod(admin, { namespace: SYSTEM, labels: OPERATOR, ports, names: { 8081: 'health' } });
    const open = await listeningPod(admin, { namespace: SYSTEM, labels: {}, ports });
    const expected = { [`${covered}:8081`]: true, [`${covered}:9999`]: false, [`${open}:9999`]: true };
    expect(await settledReach(admin, { namespace: tenant.namespace, labels: {}, expected })).toEqual(expected);
  });
});
