import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import {
  CONFIG_MAPS,
  type ConfigMap,
  connect,
  type Draft,
  type KubeObject,
  KubernetesClient,
  KubernetesError,
  type Resource,
} from '../../src/platform/kubernetes/index.ts';
import { Admin, readKubeconfig, writeKubeconfig } from './admin.ts';
import { type Bed, openClient } from './bed.ts';

interface Pod extends KubeObject {
  readonly spec: unknown;
  readonly status?: { readonly phase?: string; readonly message?: string };
}
const PODS: Resource<Pod> = { group: '', version: 'v1', plural: 'pods', kind: 'Pod', namespaced: true };
const UNKNOWN: Resource = { group: 'nobody.example', version: 'v1', plural: 'things', kind: 'Thing', namespaced: true };

let admin: Admin;
let ours: Bed;
let theirs: Bed;
let namespace = '';
beforeAll(async () => {
  const kubeconfig = inject('kubeconfig');
  admin = new Admin(kubeconfig);
  [ours, theirs] = await Promise.all([openClient(kubeconfig, 'sluice-a'), openClient(kubeconfig, 'sluice-b')]);
  namespace = await admin.namespace('client');
});
afterAll(() => {
  ours.close();
  theirs.close();
});

const draft = (name: string, data: Record<string, string>): Draft<ConfigMap> => ({ metadata: { name, namespace }, data });
const read = (name: string) => ours.client.get(CONFIG_MAPS, { name, namespace });
async function apply(bed: Bed, name: string, data: Record<string, string>): Promise<ConfigMap> {
  const applied = await bed.client.apply(CONFIG_MAPS, draft(name, data));
  if (applied.kind !== 'written') throw new Error(`${name}: ${JSON.stringify(applied)}`);
  return applied.object;
}

describe('server-side apply', () => {
  it('of a field that another manager holds is a conflict that names both, and writes nothing', async () => {
    await apply(ours, 'contested', { colour: 'red', size: 'small' });
    const refused = await theirs.client.apply(CONFIG_MAPS, draft('contested', { colour: 'blue', weight: 'heavy' }));
    expect(refused).toEqual({ kind: 'conflict', conflicts: [{ manager: 'sluice-a', field: '.data.colour' }] });
    expect((await read('contested'))?.data).toEqual({ colour: 'red', size: 'small' });
  });

  it('shares an object: each manager gives up its own fields only', async () => {
    await apply(ours, 'shared', { a: '1', b: '2' });
    await apply(theirs, 'shared', { c: '3' });
    const after = await apply(ours, 'shared', { a: '1' });
    expect(after.data).toEqual({ a: '1', c: '3' });
  });

  it('of the same again changes nothing', async () => {
    const first = await apply(ours, 'same', { a: '1' });
    const second = await apply(ours, 'same', { a: '1' });
    expect(second.metadata.resourceVersion).toBe(first.metadata.resourceVersion);
  });

  it('takes effect only on the object that it names by uid or version', async () => {
    const { metadata } = await apply(ours, 'fixed', { a: '1' });
    await apply(theirs, 'fixed', { b: '1' });
    const stale = { ...draft('fixed', { a: '2' }), metadata: { name: 'fixed', namespace, resourceVersion: metadata.resourceVersion } };
    expect(await ours.client.apply(CONFIG_MAPS, stale)).toMatchObject({ kind: 'changed' });
    const other = { ...draft('fixed', { a: '2' }), metadata: { name: 'fixed', namespace, uid: '00000000-0000-0000-0000-000000000000' } };
    expect(await ours.client.apply(CONFIG_MAPS, other)).toMatchObject({ kind: 'changed' });
    expect((await read('fixed'))?.data).toEqual({ a: '1', b: '1' });
  });

  it('of what validation refuses is told with the field', async () => {
    const refused = await ours.client.apply(CONFIG_MAPS, draft('bad', { 'no such key!': '1' }));
    expect(refused).toMatchObject({ kind: 'rejected', causes: [{ reason: 'FieldValueInvalid', field: 'data[no such key!]' }] });
  });

  it('of the status leaves the rest alone', async () => {
    const spec = { containers: [{ name: 'c', image: 'i' }] };
    expect(await ours.client.create(PODS, { metadata: { name: 'p', namespace }, spec })).toMatchObject({ kind: 'written' });
    const status: Draft<Pod> = { metadata: { name: 'p', namespace }, spec: undefined, status: { message: 'told' } };
    expect(await ours.client.applyStatus(PODS, status)).toMatchObject({
      kind: 'written',
      object: { status: { message: 'told', phase: 'Pending' } },
    });
    expect(await ours.client.applyStatus(PODS, { ...status, metadata: { name: 'none', namespace } })).toEqual({ kind: 'absent' });
  });
});

describe('other verbs', () => {
  it('create once', async () => {
    expect(await ours.client.create(CONFIG_MAPS, draft('once', { a: '1' }))).toMatchObject({
      kind: 'written',
      object: { data: { a: '1' } },
    });
    expect(await ours.client.create(CONFIG_MAPS, draft('once', { a: '2' }))).toEqual({ kind: 'exists' });
  });

  it('get what is not there as null', async () => expect(await read('none')).toBeNull());

  it('merge only onto the version that was seen', async () => {
    const reference = { name: 'merged', namespace };
    const { metadata } = await apply(ours, 'merged', { a: '1' });
    const patch = (a: string) => ({ metadata: { resourceVersion: metadata.resourceVersion }, data: { a } });
    expect(await ours.client.merge(CONFIG_MAPS, reference, patch('2'))).toMatchObject({ kind: 'written', object: { data: { a: '2' } } });
    expect(await ours.client.merge(CONFIG_MAPS, reference, patch('3'))).toMatchObject({ kind: 'changed' });
    expect(await ours.client.merge(CONFIG_MAPS, { name: 'none', namespace }, {})).toEqual({ kind: 'absent' });
  });

  it('delete only what was meant', async () => {
    const { metadata } = await apply(ours, 'doomed', {});
    const reference = { name: 'doomed', namespace };
    const uid = '00000000-0000-0000-0000-000000000000';
    expect(await ours.client.delete(CONFIG_MAPS, reference, { uid })).toMatchObject({ kind: 'changed' });
    expect(await ours.client.delete(CONFIG_MAPS, reference, { uid: metadata.uid, resourceVersion: metadata.resourceVersion })).toEqual({
      kind: 'deleted',
    });
    expect(await ours.client.delete(CONFIG_MAPS, reference)).toEqual({ kind: 'absent' });
  });

  it('say that finalizers keep what is deleted', async () => {
    await ours.client.apply(CONFIG_MAPS, { metadata: { name: 'held', namespace, finalizers: ['sluice.dev/test'] } });
    expect(await ours.client.delete(CONFIG_MAPS, { name: 'held', namespace })).toEqual({ kind: 'deleting' });
    expect((await read('held'))?.metadata.deletionTimestamp).toBeDefined();
    await ours.client.merge(CONFIG_MAPS, { name: 'held', namespace }, { metadata: { finalizers: null } });
    expect(await read('held')).toBeNull();
  });

  it('list 1,000 objects in pages', async () => {
    const many = await admin.namespace('many');
    const name = (index: number) => `m-${String(index).padStart(4, '0')}`;
    for (let from = 0; from < 1000; from += 50) {
      const batch = Array.from({ length: 50 }, (_, offset) => ({
        metadata: { name: name(from + offset), namespace: many, labels: { half: String(offset % 2) } },
      }));
      await Promise.all(batch.map((one) => ours.client.create(CONFIG_MAPS, one)));
    }
    const before = ours.requests.length;
    const { items } = await ours.client.list(CONFIG_MAPS, { namespace: many });
    expect(items.map(({ metadata }) => metadata.name).sort()).toEqual(Array.from({ length: 1000 }, (_, index) => name(index)));
    expect(ours.requests.slice(before)).toHaveLength(2);
    expect((await ours.client.list(CONFIG_MAPS, { namespace: many, labelSelector: 'half=1' })).items).toHaveLength(500);
  });
});

it('a pod uses its ServiceAccount: token, certificate and namespace from the mounted files', async () => {
  const login = readKubeconfig(await admin.serviceAccount(namespace, 'pod'));
  const root = mkdtempSync(join(tmpdir(), 'sluice-pod-'));
  const mount = join(root, 'var/run/secrets/kubernetes.io/serviceaccount');
  mkdirSync(mount, { recursive: true });
  for (const [file, text] of Object.entries({ token: login.token, 'ca.crt': login.certificate, namespace }))
    writeFileSync(join(mount, file), text);
  const { hostname, port } = new URL(login.server);
  vi.stubEnv('KUBERNETES_SERVICE_HOST', hostname);
  vi.stubEnv('KUBERNETES_SERVICE_PORT', port);
  const connection = await connect({ kind: 'in-cluster', root }, 'sluice-test');
  const client = new KubernetesClient({ transport: connection.transport, fieldManager: 'x' });
  const denied = await client.list(CONFIG_MAPS, { namespace }).catch((error: unknown) => error);
  connection.transport.close();
  vi.unstubAllEnvs();
  rmSync(root, { recursive: true });
  expect(connection.namespace).toBe(namespace);
  expect(String(denied)).toMatch(`system:serviceaccount:${namespace}:pod may not list configmaps`);
});

describe('a failure says what to do', () => {
  const failure = async (work: Promise<unknown>) => {
    const thrown = await work.then(
      () => null,
      (error: unknown) => error,
    );
    if (!(thrown instanceof KubernetesError)) throw new Error(`no KubernetesError: ${String(thrown)}`);
    return thrown;
  };

  it('about rights, naming user, verb and resource; and goes away when they are granted', async () => {
    const restricted = await openClient(await admin.serviceAccount(namespace, 'poor'), 'poor');
    const denied = await failure(restricted.client.list(CONFIG_MAPS, { namespace }));
    expect(denied.reason).toBe('forbidden');
    expect(denied.message).toMatch(
      `system:serviceaccount:${namespace}:poor may not list configmaps in namespace "${namespace}": bind it to a Role in namespace "${namespace}"`,
    );
    expect(denied.message).toMatch('verb "list" on resource "configmaps" of API group ""');
    expect((await failure(restricted.client.list(CONFIG_MAPS))).message).toMatch('bind it to a ClusterRole');
    expect(await failure(restricted.client.apply(CONFIG_MAPS, draft('x', {})))).toMatchObject({ reason: 'forbidden' });

    const rbac = `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}`;
    const rules = [{ apiGroups: [''], resources: ['configmaps'], verbs: ['list'] }];
    await admin.demand('POST', `${rbac}/roles`, { body: { metadata: { name: 'lists' }, rules } });
    const subjects = [{ kind: 'ServiceAccount', name: 'poor', namespace }];
    const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'lists' };
    await admin.demand('POST', `${rbac}/rolebindings`, { body: { metadata: { name: 'lists' }, subjects, roleRef } });
    await expect
      .poll(() =>
        restricted.client.list(CONFIG_MAPS, { namespace }).then(
          ({ items }) => items.length,
          () => 0,
        ),
      )
      .toBeGreaterThan(0);
    restricted.close();
  });

  it('about a resource or a namespace that is not there', async () => {
    const unknown = await failure(ours.client.list(UNKNOWN));
    expect(unknown).toMatchObject({ reason: 'unknown_resource' });
    expect(unknown.message).toMatch('Install its CustomResourceDefinition');
    const nowhere = await failure(ours.client.apply(CONFIG_MAPS, { metadata: { name: 'a', namespace: 'nowhere' } }));
    expect(nowhere.message).toMatch('the namespace "nowhere" does not exist. Create it first');
  });

  it('about a kubeconfig that names no cluster', async () => {
    expect(await failure(connect({ kind: 'kubeconfig', path: '/nowhere/config' }, 'x'))).toMatchObject({ reason: 'configuration' });
    const access = { kind: 'kubeconfig', path: inject('kubeconfig'), context: 'other' } as const;
    expect((await failure(connect(access, 'x'))).message).toMatch('its context "other" names no cluster');
  });

  it('about credentials that are not accepted', async () => {
    const file = `${inject('kubeconfig')}.wrong`;
    writeKubeconfig(file, { ...readKubeconfig(inject('kubeconfig')), token: 'wrong' });
    const stranger = await openClient(file, 'x');
    expect(await failure(stranger.client.list(CONFIG_MAPS))).toMatchObject({ reason: 'unauthorized' });
    stranger.close();
  });
});
