/** The Kubernetes platform against a real API server, with pods that are real engines and routers. */
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import type { InstanceSpec, Observed, ObservedInstance, ObservedRouter, Platform, Step } from '../../src/platform/index.ts';
import { type FleetOwner, type OwnerReference, PODS, PodFleet } from '../../src/platform/kubernetes/index.ts';
import { instanceSpec, NO_OVERRIDES } from '../../src/platform/spec.fixture.ts';
import { type Clock, systemClock } from '../../src/shared/index.ts';
import { Admin } from './admin.ts';
import { type Bed, openClient, until } from './bed.ts';
import { ProcessKubelet } from './kubelet.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
/** A busy machine takes long to start a process. */
const PATIENCE_MS = 100_000;
vi.setConfig({ testTimeout: 3 * PATIENCE_MS, hookTimeout: PATIENCE_MS });

const IMAGE = 'example.com/sluice:test';
const POD = { image: IMAGE, imagePullPolicy: null, requests: {}, limits: {}, overrides: NO_OVERRIDES };

function spec(role: 'prefill' | 'decode', change: Partial<InstanceSpec> = {}): InstanceSpec {
  const sizes = { contextTokens: 2048, maxSequences: 8, hbmBytes: 2 ** 26, hostBytes: 2 ** 26 };
  return instanceSpec({ role, modelName: 'simulated', ...sizes, pod: POD, ...change });
}

let admin: Admin;
let bed: Bed;
let namespace = '';
let kubelet: ProcessKubelet;
let fleet: PodFleet;
let platform: Platform;
const told: string[] = [];

beforeAll(async () => {
  const kubeconfig = inject('kubeconfig');
  admin = new Admin(kubeconfig);
  bed = await openClient(kubeconfig, 'sluice-operator');
  namespace = await admin.namespace('platform');
  kubelet = new ProcessKubelet({ admin, client: bed.client, namespace, programs: { sluice: [process.execPath, MAIN] }, speed: 10 });
  await kubelet.start();
  fleet = open();
  fleet.start();
  await fleet.synced();
  fleet.subscribe((key) => told.push(key));
  platform = fleet.platform(owner('chat'));
});
afterAll(async () => {
  await fleet.stop();
  await kubelet.stop();
  bed.close();
});

function open(clock: Clock = systemClock): PodFleet {
  return new PodFleet({ client: bed.client, scope: { namespace }, clock, leads: () => true });
}

const uids = new Map<string, string>();
function reference(kind: string, name: string): OwnerReference {
  const uid = uids.get(`${kind}/${name}`) ?? randomUUID();
  uids.set(`${kind}/${name}`, uid);
  return { apiVersion: 'serving.sluice.dev/v1alpha1', kind, name, uid };
}

function owner(name: string): FleetOwner {
  const pools = { prefill: reference('ServingPool', `${name}-prefill`), decode: reference('ServingPool', `${name}-decode`) };
  return { namespace, name, deployment: reference('ServingDeployment', name), pools };
}

const start = (name: string, wanted: InstanceSpec): Step => {
  return { type: 'startInstance', name, spec: wanted, revision: 'r1', family: 'f1', reason: 'a test' };
};

async function apply(step: Step): Promise<void> {
  expect(await platform.apply(step)).toEqual({ ok: true });
}

/** Looks until it holds. */
async function seen(holds: (observed: Observed) => boolean, at: Platform = platform): Promise<Observed> {
  let last = await at.observe();
  await until(
    async () => {
      last = await at.observe();
      return holds(last);
    },
    () => `${JSON.stringify(last, null, 1)}\n${[...kubelet.processes().keys()].map((name) => kubelet.logs(name).slice(-500)).join('\n')}`,
    PATIENCE_MS,
  );
  return last;
}

const instanceOf = (observed: Observed, name: string): ObservedInstance | undefined => observed.instances.find((one) => one.name === name);
const routerOf = (observed: Observed, name: string): ObservedRouter | undefined => observed.routers.find((one) => one.name === name);
const isKnown = (observed: Observed, name: string) => {
  const one = instanceOf(observed, name);
  return one?.phase === 'ready' && one.incarnation !== null && one.address !== null;
};

function published({ instances }: Observed) {
  return instances.flatMap(({ name, incarnation, address, role, drainingSinceMs }) =>
    incarnation === null || address === null ? [] : [{ id: name, incarnation, role, draining: drainingSinceMs !== null, ...address }],
  );
}

async function publish(observed: Observed): Promise<void> {
  await apply({ type: 'publishInstances', router: 'router-0', model: 'simulated', instances: published(observed), reason: 'a test' });
}

describe('the Kubernetes platform', () => {
  it('sees a pod from the moment it was made, and makes it once', async () => {
    const release = bed.holdWatches();
    const blind = open();
    blind.start();
    await blind.synced();
    const other = blind.platform(owner('blind'));
    expect(await other.apply(start('decode-0', spec('decode')))).toEqual({ ok: true });
    expect((await other.observe()).instances).toMatchObject([{ name: 'decode-0', phase: 'starting', incarnation: null }]);
    // As after an answer that was lost.
    expect(await other.apply(start('decode-0', spec('decode')))).toEqual({ ok: true });
    expect(await other.apply({ type: 'stopInstance', name: 'decode-0', reason: 'a test' })).toEqual({ ok: true });
    expect((await other.observe()).instances).toMatchObject([{ name: 'decode-0', phase: 'stopping' }]);
    release();
    await seen(({ instances }) => instances.length === 0, other);
    await blind.stop();
  });

  it('brings instances and a router up that serve requests together', async () => {
    // One after the other: lists are in the order in which pods were made.
    await apply(start('prefill-0', spec('prefill')));
    await apply(start('decode-0', spec('decode')));
    const config = JSON.stringify({});
    const router = { host: '127.0.0.1', port: 0, image: IMAGE, modelName: 'simulated', config, graceMs: 1_000 };
    await apply({ type: 'startRouter', name: 'router-0', spec: router, revision: 'r2', reason: 'a test' });
    const up = await seen((one) => isKnown(one, 'prefill-0') && isKnown(one, 'decode-0') && routerOf(one, 'router-0')?.phase === 'ready');
    expect(instanceOf(up, 'decode-0')).toMatchObject({ role: 'decode', revision: 'r1', family: 'f1', modelName: 'simulated', failures: 0 });
    expect(told).toContain(`${namespace}/chat`);
    await publish(up);
    const serving = await seen((one) => routerOf(one, 'router-0')?.serving === true);
    const url = routerOf(serving, 'router-0')?.url;
    const body = JSON.stringify({ model: 'simulated', prompt: 'hello', max_tokens: 4 });
    const answer = await fetch(`${url}/v1/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
    expect(answer.status).toBe(200);
    // A decode instance serves alone as soon as the router has it; the other may come later.
    const all = await seen((one) => routerOf(one, 'router-0')?.instances?.every(({ connected }) => connected) === true);
    expect(routerOf(all, 'router-0')?.instances?.map(({ name }) => name)).toEqual(['prefill-0', 'decode-0']);
  });

  it('looks without asking the API server', async () => {
    const before = bed.requests.length;
    for (let look = 0; look < 5; look += 1) await platform.observe();
    expect(bed.requests.slice(before).filter((request) => !request.includes('watch=true'))).toEqual([]);
  });

  it('asks an instance once in each life, and learns the new one after a crash', async () => {
    const before = instanceOf(await platform.observe(), 'decode-0');
    kubelet.kill('chat-decode-0');
    const life = (one: Observed) => instanceOf(one, 'decode-0')?.incarnation;
    // What is looked at late is in its next life already.
    const crashed = await seen((one) => instanceOf(one, 'decode-0')?.phase !== 'ready' || life(one) !== before?.incarnation);
    expect(life(crashed)).not.toBe(before?.incarnation);
    const after = await seen((one) => isKnown(one, 'decode-0') && instanceOf(one, 'decode-0')?.incarnation !== before?.incarnation);
    expect(instanceOf(after, 'decode-0')).toMatchObject({ failures: 1, lastError: expect.stringMatching(/chat-decode-0: exit code 137/) });
  });

  it('keeps the mark that an instance drains over a new start of the operator', async () => {
    const markedAt = systemClock.now();
    await apply({ type: 'drainInstance', name: 'decode-0', reason: 'a test' });
    expect(instanceOf(await platform.observe(), 'decode-0')?.drainingSinceMs).not.toBeNull();
    // Its clock is a minute ahead of that of the operator before it, which makes no drain older.
    const next = open({ ...systemClock, wall: () => systemClock.wall() + 60_000 });
    next.start();
    await next.synced();
    // The first look of a new operator knows the incarnations too: it must not tell routers of fewer instances than there are.
    const first = await next.platform(owner('chat')).observe();
    expect(instanceOf(first, 'decode-0')?.drainingSinceMs).toBeGreaterThanOrEqual(markedAt - 1_000);
    expect(isKnown(first, 'decode-0')).toBe(true);
    await next.stop();
  });

  it('tells routers lists that they take although an earlier leader had a clock that was ahead', async () => {
    const observed = await platform.observe();
    const adminUrl = routerOf(observed, 'router-0')?.adminUrl;
    const generation = Date.now() + 3_600_000;
    const put = { method: 'PUT', headers: { 'content-type': 'application/json' } };
    const body = JSON.stringify({ generation, model: 'simulated', instances: [] });
    await fetch(`${adminUrl}/admin/instances`, { ...put, body });
    expect(routerOf(await platform.observe(), 'router-0')?.instances).toEqual([]);
    await publish(observed);
    expect(routerOf(await platform.observe(), 'router-0')?.instances).toMatchObject([
      { name: 'prefill-0' },
      { name: 'decode-0', draining: true },
    ]);
  });

  it('touches nothing that it does not own, and says whose name is taken', async () => {
    const labels = {
      'app.kubernetes.io/managed-by': 'sluice',
      'serving.sluice.dev/deployment': 'chat',
      'serving.sluice.dev/role': 'decode',
    };
    const container = { name: 'main', image: 'example.com/other', command: ['sleep', '1000'] };
    const alien = async (name: string, own: Record<string, string>) => {
      const metadata = { name, namespace, labels: own };
      const made = await bed.client.create(PODS, { metadata, spec: { containers: [container], terminationGracePeriodSeconds: 0 } });
      if (made.kind !== 'written') throw new Error(JSON.stringify(made));
    };
    await Promise.all([alien('chat-decode-7', {}), alien('chat-decode-8', labels)]);
    await seen(({ takenNames }) => takenNames.includes('decode-8'));
    const refused = await platform.apply(start('decode-7', spec('decode')));
    expect(refused).toMatchObject({ ok: false, message: expect.stringMatching(/chat-decode-7 is there already and not ours/) });
    expect((await platform.observe()).takenNames).toEqual(expect.arrayContaining(['decode-7', 'decode-8']));
    await apply({ type: 'stopInstance', name: 'decode-8', reason: 'a test' });
    const there = await bed.client.get(PODS, { name: 'chat-decode-8', namespace });
    expect(there?.metadata.deletionTimestamp).toBeUndefined();
  });

  it('says which field of the resource makes a pod impossible', async () => {
    const resources = { ...POD, requests: { memory: '2Gi' }, limits: { memory: '1Gi' } };
    const refused = await platform.apply(start('decode-5', spec('decode', { pod: resources })));
    expect(refused).toMatchObject({ ok: false, field: 'spec.decode.resources', message: expect.stringMatching(/memory/) });
  });

  it('has a pod that is over deleted, so that its name is free for a new one', async () => {
    await apply(start('decode-1', spec('decode')));
    await seen((one) => isKnown(one, 'decode-1'));
    await kubelet.evict('chat-decode-1');
    const failed = await seen((one) => instanceOf(one, 'decode-1')?.phase === 'failed');
    expect(instanceOf(failed, 'decode-1')).toMatchObject({ heals: false, lastError: expect.stringMatching(/Evicted/) });
    await apply({ type: 'restartInstance', name: 'decode-1', reason: 'a test' });
    await seen((one) => instanceOf(one, 'decode-1') === undefined);
    await apply(start('decode-1', spec('decode')));
    await seen((one) => isKnown(one, 'decode-1'));
  });

  it('ends within its time when pods do not answer', async () => {
    const pid = kubelet.processes().get('chat-router-0');
    if (pid === undefined) throw new Error('no router runs');
    process.kill(pid, 'SIGSTOP');
    try {
      const began = performance.now();
      const observed = await platform.observe();
      expect(performance.now() - began).toBeLessThan(10_000);
      expect(routerOf(observed, 'router-0')?.instances).toBeNull();
    } finally {
      process.kill(pid, 'SIGCONT');
    }
  });

  it('stops what it is told to, and then nothing is left', async () => {
    for (const name of ['prefill-0', 'decode-0', 'decode-1']) await apply({ type: 'stopInstance', name, reason: 'a test' });
    await apply({ type: 'stopRouter', name: 'router-0', reason: 'a test' });
    await seen(({ instances, routers }) => instances.length === 0 && routers.length === 0);
    // What is gone is as it should be.
    await apply({ type: 'stopInstance', name: 'decode-0', reason: 'a test' });
    expect([...kubelet.processes().keys()].filter((name) => name.startsWith('chat-') && !/-[78]$/.test(name))).toEqual([]);
  });
});
