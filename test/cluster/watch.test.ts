/** The reflector against an API server that is killed, started again, frozen, and forgets. */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  CONFIG_MAPS,
  type ConfigMap,
  Reflector,
  type ReflectorNotice,
  type ReflectorOptions,
} from '../../src/platform/kubernetes/index.ts';
import type { Admin } from './admin.ts';
import { startCluster, type TestCluster } from './apiserver.ts';
import { type Bed, openClient, until } from './bed.ts';

const BACKOFF = { firstMs: 50, maxMs: 500, factor: 2 };

/** What all the tests below need of a cluster. */
class Scene {
  readonly cluster: TestCluster;
  readonly bed: Bed;
  readonly admin: Admin;
  readonly notices: ReflectorNotice[] = [];
  namespace = '';
  #reflectors: Reflector<ConfigMap>[] = [];

  constructor(cluster: TestCluster, bed: Bed) {
    this.cluster = cluster;
    this.bed = bed;
    this.admin = cluster.admin;
  }

  static async open(flags: readonly string[] = []): Promise<Scene> {
    const cluster = await startCluster({ flags });
    return new Scene(cluster, await openClient(cluster.kubeconfig, 'sluice'));
  }

  async begin(): Promise<void> {
    this.namespace = await this.admin.namespace('watch');
    this.notices.length = 0;
  }

  async end(): Promise<void> {
    await Promise.all(this.#reflectors.map((one) => one.stop()));
    this.#reflectors = [];
  }

  async close(): Promise<void> {
    this.bed.close();
    await this.cluster.stop();
  }

  watch(options: Partial<ReflectorOptions<ConfigMap>> = {}): Reflector<ConfigMap> {
    const scope = { namespace: this.namespace };
    const notice = (one: ReflectorNotice) => this.notices.push(one);
    const reflector = new Reflector({ client: this.bed.client, resource: CONFIG_MAPS, scope, backoff: BACKOFF, notice, ...options });
    this.#reflectors.push(reflector);
    reflector.start();
    return reflector;
  }

  async put(name: string, value: string, labels: Record<string, string> = {}): Promise<void> {
    const applied = await this.bed.client.apply(CONFIG_MAPS, { metadata: { name, namespace: this.namespace, labels }, data: { value } });
    if (applied.kind !== 'written') throw new Error(JSON.stringify(applied));
  }

  async remove(name: string): Promise<void> {
    await this.bed.client.delete(CONFIG_MAPS, { name, namespace: this.namespace });
  }

  /** `name=value` of all that the store holds. */
  seen(reflector: Reflector<ConfigMap>): string[] {
    return [...reflector.store.values()].map(({ metadata, data }) => `${metadata.name}=${data?.['value']}`).sort();
  }

  async sees(reflector: Reflector<ConfigMap>, ...expected: string[]): Promise<void> {
    const told = () =>
      `${JSON.stringify(this.seen(reflector))}, expected ${JSON.stringify(expected)}; ${JSON.stringify(reflector.state())}`;
    await until(() => JSON.stringify(this.seen(reflector)) === JSON.stringify(expected), told);
  }

  broken(): readonly string[] {
    return this.notices.flatMap((notice) => (notice.kind === 'broken' ? [`${notice.next}: ${notice.why}`] : []));
  }
}

describe('a watch', () => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await Scene.open();
  });
  afterAll(() => scene.close());
  beforeEach(() => scene.begin());
  afterEach(() => scene.end());

  it('follows what is added, changed and deleted, and tells keys', async () => {
    await scene.put('before', '1');
    const reflector = scene.watch();
    expect(await reflector.synced()).toBe(true);
    const told: string[] = [];
    reflector.store.subscribe((key) => told.push(key));
    expect(told).toEqual([`${scene.namespace}/before`]);
    await scene.put('later', '1');
    await scene.put('before', '2');
    await scene.sees(reflector, 'before=2', 'later=1');
    await scene.remove('later');
    await scene.sees(reflector, 'before=2');
    expect(new Set(told)).toEqual(new Set([`${scene.namespace}/before`, `${scene.namespace}/later`]));
    expect(reflector.state()).toMatchObject({ synced: true, watching: true, lists: 1, watches: 1, error: null });
    expect(reflector.store.get(`${scene.namespace}/before`)?.metadata).not.toHaveProperty('managedFields');
  });

  it('holds only what its label selector selects, as labels change', async () => {
    const reflector = scene.watch({ scope: { namespace: scene.namespace, labelSelector: 'of=ours' } });
    await scene.put('a', '1', { of: 'ours' });
    await scene.put('b', '1', { of: 'others' });
    await scene.put('c', '1', { of: 'ours' });
    await scene.sees(reflector, 'a=1', 'c=1');
    await scene.put('a', '2', { of: 'others' });
    await scene.put('b', '2', { of: 'ours' });
    await scene.sees(reflector, 'b=2', 'c=1');
  });

  it('goes on from a bookmark, though none of its objects changed', async () => {
    const reflector = scene.watch({ watchSeconds: 4 });
    await reflector.synced();
    // Writes elsewhere move the version of the store on; the API server tells the newest before it ends a watch.
    const elsewhere = await scene.admin.namespace('elsewhere');
    for (const name of ['x', 'y']) await scene.bed.client.apply(CONFIG_MAPS, { metadata: { name, namespace: elsewhere } });
    await until(
      () => reflector.state().watches >= 2,
      () => JSON.stringify(scene.notices),
    );
    const versions = scene.notices.flatMap((notice) => (notice.kind === 'watching' ? [BigInt(notice.resourceVersion)] : []));
    expect(versions[1]).toBeGreaterThan(versions[0] ?? 0n);
    expect(reflector.state().lists).toBe(1);
    expect(scene.broken()).toEqual([]);
  });

  it('of more than its store may hold is not synced, says so, and is when there is room', async () => {
    for (const name of ['a', 'b', 'c']) await scene.put(name, '1');
    const reflector = scene.watch({ maxObjects: 2 });
    await until(
      () => reflector.state().error !== null,
      () => 'no error',
    );
    expect(reflector.state()).toMatchObject({ synced: false, error: expect.stringMatching(/more than 2 objects: narrow the watch/) });
    await scene.remove('b');
    await scene.sees(reflector, 'a=1', 'c=1');
    await until(
      () => reflector.state().watching && reflector.state().error === null,
      () => JSON.stringify(reflector.state()),
    );
    await scene.put('d', '1');
    await until(
      () => reflector.state().error !== null,
      () => 'no error',
    );
    expect(scene.seen(reflector)).toEqual(['a=1', 'c=1']);
  });

  it('lives through an API server that is killed and started again, and misses nothing', async () => {
    await scene.put('stays', '1');
    await scene.put('goes', '1');
    const reflector = scene.watch();
    await scene.sees(reflector, 'goes=1', 'stays=1');
    await scene.cluster.apiServer.kill();
    await until(
      () => !reflector.state().watching,
      () => 'still watching',
    );
    expect(reflector.state()).toMatchObject({ synced: true, error: expect.stringMatching(/cannot be reached/) });
    expect(scene.seen(reflector)).toEqual(['goes=1', 'stays=1']);
    const early = scene.bed.client.get(CONFIG_MAPS, { name: 'stays', namespace: scene.namespace }, { attempts: 200 });
    await scene.cluster.restart();
    expect((await early)?.data).toEqual({ value: '1' });
    await scene.remove('goes');
    await scene.put('comes', '1');
    await scene.sees(reflector, 'comes=1', 'stays=1');
    await until(
      () => reflector.state().watching && reflector.state().error === null,
      () => JSON.stringify(reflector.state()),
    );
  });

  it('notices an API server that is frozen, and goes on when it thaws', async () => {
    await scene.put('a', '1');
    const reflector = scene.watch({ silentAfterMs: 1_500 });
    await scene.sees(reflector, 'a=1');
    scene.cluster.apiServer.signal('SIGSTOP');
    try {
      await until(
        () => scene.broken().some((why) => why.includes('silent for 1500 ms') || why.includes('did not answer within 1500 ms')),
        () => JSON.stringify(scene.notices),
      );
      await until(
        () => !reflector.state().watching && reflector.state().error !== null,
        () => JSON.stringify(reflector.state()),
      );
      const slow = scene.bed.client.get(CONFIG_MAPS, { name: 'a', namespace: scene.namespace }, { attempts: 2, timeoutMs: 300 });
      await expect(slow).rejects.toMatchObject({ reason: 'timeout', message: expect.stringMatching(/did not answer within 300 ms/) });
      expect(scene.seen(reflector)).toEqual(['a=1']);
    } finally {
      scene.cluster.apiServer.signal('SIGCONT');
    }
    await scene.put('a', '2');
    await scene.sees(reflector, 'a=2');
  });

  it('stops at once, even while there is no API server', async () => {
    const reflector = scene.watch();
    await reflector.synced();
    scene.cluster.apiServer.signal('SIGSTOP');
    try {
      await reflector.stop();
      const other = scene.watch();
      await other.stop();
      expect(await other.synced()).toBe(false);
    } finally {
      scene.cluster.apiServer.signal('SIGCONT');
    }
  });
});

describe('a watch whose past etcd has forgotten', () => {
  let scene: Scene;
  beforeAll(async () => {
    // The cache would know what etcd no longer does.
    scene = await Scene.open(['--watch-cache=false']);
  });
  afterAll(() => scene.close());
  beforeEach(() => scene.begin());
  afterEach(() => scene.end());

  it('lists again on 410, and tells only what differs', async () => {
    await scene.put('same', '1');
    await scene.put('old', '1');
    const reflector = scene.watch();
    await scene.sees(reflector, 'old=1', 'same=1');
    const told: string[] = [];
    reflector.store.subscribe((key) => told.push(key.split('/')[1] ?? ''));
    told.length = 0;
    const release = scene.bed.holdWatches();
    await scene.cluster.restart();
    await scene.remove('old');
    await scene.put('new', '1');
    await scene.cluster.compact();
    expect(reflector.state()).toMatchObject({ watching: false, lists: 1 });
    release();
    await scene.sees(reflector, 'new=1', 'same=1');
    expect(told).toEqual(['old', 'new']);
    expect(reflector.state().lists).toBe(2);
    expect(scene.broken().filter((why) => why.startsWith('list: '))).toEqual([expect.stringMatching(/compacted|too old/)]);
  });
});
