/** Network policies under a real enforcer: what is needed is open, the rest is closed. */
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { LABELS, podSelector, type Service } from '../../../src/platform/kubernetes/index.ts';
import { Admin } from '../admin.ts';
import { listeningPod, type Reach, settledReach } from './probes.ts';
import { Release, SYSTEM } from './release.ts';
import { sample, Tenant } from './tenant.ts';

/** As the operator is told apart from others. */
const OPERATOR = { 'app.kubernetes.io/name': 'sluice', 'app.kubernetes.io/instance': 'sluice', 'app.kubernetes.io/component': 'operator' };
const SCRAPER = { app: 'scraper' };
/** One that engines could choose for a hand-off. */
const TRANSFER = 31_234;
/** Without policies of its own, so that those of the operator are seen alone; and with them. */
const [BARE, GUARDED] = ['bare', 'guarded'];

const { kubeconfig, addresses } = inject('node');
const admin = new Admin(kubeconfig);
let release: Release;
let tenant: Tenant;
/** Addresses of pods of ours, by deployment. */
let engine: Readonly<Record<string, string>> = {};
let router: Readonly<Record<string, string>> = {};
beforeAll(async () => {
  release = await Release.install(admin, kubeconfig);
  tenant = await Tenant.open(admin, kubeconfig);
  const spec = { ...sample('llama-cpp-cpu'), engine: { type: 'sim' } };
  await tenant.apply(BARE, { ...spec, network: { policies: 'None' } });
  await tenant.apply(GUARDED, spec);
  for (const name of [BARE, GUARDED]) await tenant.settled(name);
  const address = async (name: string, component: string) => (await tenant.pods(name, component))[0]?.status?.podIP ?? '';
  engine = { [BARE]: await address(BARE, 'decode'), [GUARDED]: await address(GUARDED, 'decode') };
  router = { [BARE]: await address(BARE, 'router'), [GUARDED]: await address(GUARDED, 'router') };
});
afterAll(async () => {
  await tenant?.close();
  await release?.close();
});

describe('the network policy of the operator', () => {
  let stranger = '';
  let apiService = '';
  beforeAll(async () => {
    stranger = await listeningPod(admin, { namespace: tenant.namespace, labels: {}, ports: [8000, 8081] });
    const service = await admin.demand<Service>('GET', '/api/v1/namespaces/default/services/kubernetes');
    apiService = service.spec?.clusterIP ?? '';
  });

  /** What one labelled as the operator must and must not reach. */
  const outwards = (): Reach => ({
    [`${apiService}:443`]: true,
    [`${addresses.node}:6443`]: true,
    [`${addresses.dns}:53`]: true,
    [`${engine[BARE]}:8000`]: true,
    [`${router[BARE]}:8081`]: true,
    [`${router[BARE]}:8080`]: false,
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

describe('the network policies of a deployment', () => {
  /** Labelled as an instance, and listens on every port that matters. */
  let instance = '';
  beforeAll(async () => {
    instance = await listeningPod(admin, {
      namespace: tenant.namespace,
      labels: podSelector(GUARDED, 'prefill'),
      ports: [8000, TRANSFER],
    });
  });

  const targets = () => [
    `${router[GUARDED]}:8080`,
    `${router[GUARDED]}:8081`,
    `${engine[GUARDED]}:8000`,
    `${instance}:8000`,
    `${instance}:${TRANSFER}`,
  ];

  it.each([
    { who: 'a stranger', labels: () => ({}), open: [true, false, false, false, false] },
    { who: 'a router', labels: () => podSelector(GUARDED, 'router'), open: [true, false, true, true, false] },
    { who: 'an instance', labels: () => podSelector(GUARDED, 'decode'), open: [true, false, true, true, true] },
    { who: 'a router of another deployment', labels: () => podSelector(BARE, 'router'), open: [true, false, false, false, false] },
    { who: 'an instance of another deployment', labels: () => podSelector(BARE, 'decode'), open: [true, false, false, false, false] },
  ])('let $who through where it belongs', async ({ labels, open }) => {
    const expected = Object.fromEntries(targets().map((target, index) => [target, open[index] === true]));
    expect(await settledReach(admin, { namespace: tenant.namespace, labels: labels(), expected })).toEqual(expected);
  });

  it('let the operator through to what it asks', async () => {
    const expected = { [`${router[GUARDED]}:8081`]: true, [`${engine[GUARDED]}:8000`]: true, [`${instance}:${TRANSFER}`]: false };
    expect(await settledReach(admin, { namespace: SYSTEM, labels: OPERATOR, expected })).toEqual(expected);
  });

  it('add up: a policy of its user lets a scraper through to the metrics of instances', async () => {
    const scraped = { [`${engine[GUARDED]}:8000`]: true, [`${instance}:${TRANSFER}`]: false };
    const closed = { ...scraped, [`${engine[GUARDED]}:8000`]: false };
    const look = (expected: Reach) => settledReach(admin, { namespace: SYSTEM, labels: SCRAPER, expected });
    expect(await look(closed)).toEqual(closed);
    const from = [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': SYSTEM } }, podSelector: { matchLabels: SCRAPER } }];
    const body = {
      metadata: { name: 'scraper' },
      spec: {
        podSelector: { matchLabels: { [LABELS.deployment]: GUARDED } },
        ingress: [{ from, ports: [{ port: 8000 }] }],
      },
    };
    await admin.demand('POST', `/apis/networking.k8s.io/v1/namespaces/${tenant.namespace}/networkpolicies`, { body });
    expect(await look(scraped)).toEqual(scraped);
  });
});
