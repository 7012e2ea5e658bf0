/** Pods that go while clients stream from real engines on a real node: no stream may fail or say anything else than undisturbed. */
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { Admin } from '../admin.ts';
import { until } from '../bed.ts';
import { Load } from './load.ts';
import { Release } from './release.ts';
import { type Spec, sample, Tenant } from './tenant.ts';

describe('under load', () => {
  const { kubeconfig } = inject('node');
  const admin = new Admin(kubeconfig);
  const name = 'llama-cpp-cpu';
  const spec = sample(name);
  let release: Release;
  let tenant: Tenant;
  let load: Load;
  beforeAll(async () => {
    release = await Release.install(admin, kubeconfig);
    tenant = await Tenant.open(admin, kubeconfig);
    await tenant.apply(name, spec);
    await tenant.settled(name);
    load = await Load.prepare(tenant, { deployment: name, model: spec.model.name, clients: 4, tokens: 160 });
  });
  afterAll(async () => {
    await tenant?.close();
    await release?.close();
  });

  const names = async (component: string) => (await tenant.pods(name, component)).map(({ metadata }) => metadata.name);
  const uids = async () => (await tenant.pods(name)).map(({ metadata }) => metadata.uid);

  /** A decode pod that has requests just now. */
  async function busy(): Promise<string> {
    let found: string | undefined;
    await until(
      async () => {
        const counts = await tenant.inFlight(name);
        found = (await names('decode')).find((pod) => (counts.get(pod) ?? 0) > 0);
        return found !== undefined;
      },
      () => 'no decode pod has a request',
    );
    return found ?? '';
  }

  it('nothing happens: every stream says the same', async () => {
    const { streams, failures } = await load.during((ended) => {
      const from = ended();
      return until(
        () => ended() >= from + 12,
        () => `${ended()} streams`,
        120_000,
      );
    });
    expect(failures).toEqual([]);
    expect(streams).toBeGreaterThan(12);
  });

  it('a decode pod is deleted, as by kubectl delete or a drain of the node', async () => {
    const { failures } = await load.during(async () => {
      const pod = await busy();
      const { uid } = (await tenant.pods(name, 'decode')).find(({ metadata }) => metadata.name === pod)?.metadata ?? {};
      await tenant.deletePod(pod);
      await until(
        async () => !(await uids()).includes(uid ?? ''),
        () => `${pod} is still there`,
        180_000,
      );
      await tenant.settled(name);
    });
    expect(failures).toEqual([]);
    expect(await names('decode')).toHaveLength(2);
  });

  it('a decode pod is killed at once', async () => {
    const { failures } = await load.during(async () => {
      await tenant.deletePod(await busy(), 0);
      await tenant.settled(name);
    });
    expect(failures).toEqual([]);
    expect(await names('decode')).toHaveLength(2);
  });

  it('the decode pool is scaled down and up again, as by kubectl scale', async () => {
    const { failures } = await load.during(async (ended) => {
      await busy();
      await tenant.scale(`${name}-decode`, 1);
      await until(
        async () => (await names('decode')).length === 1,
        () => 'there are still two decode pods',
        180_000,
      );
      await tenant.settled(name);
      const from = ended();
      await until(
        () => ended() >= from + 4,
        () => 'nothing is served any more',
        120_000,
      );
      await tenant.scale(`${name}-decode`, 2);
      await until(
        async () => (await names('decode')).length === 2,
        () => 'there is one decode pod',
        180_000,
      );
      await tenant.settled(name);
    });
    expect(failures).toEqual([]);
  });

  it('the spec is changed: every engine and every router is another one afterwards', async () => {
    const before = await uids();
    const changed: Spec = { ...spec, engine: { ...spec.engine, maxSequences: 6 }, router: { replicas: 2, limits: { queue: 77 } } };
    const { failures } = await load.during(async () => {
      await tenant.apply(name, changed);
      await tenant.settled(name);
    });
    expect(failures).toEqual([]);
    expect((await uids()).filter((uid) => before.includes(uid))).toEqual([]);
    expect(before).toHaveLength(5);
  });
});
