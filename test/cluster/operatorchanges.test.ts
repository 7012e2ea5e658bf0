/** The operator while things change under it: rolls and drains under load, what cannot start, what is in the way, what is deleted. */
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { until } from './bed.ts';
import { OperatorBed, SLOW_MS } from './operatorbed.ts';

function sim(change: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return {
    model: { name: 'simulated' },
    engine: { type: 'sim', sim: { costs: { stepFixed: 10 } } },
    decode: { replicas: 1 },
    ...change,
  };
}

describe('the operator', { timeout: 300_000 }, () => {
  let bed: OperatorBed;
  beforeAll(async () => {
    bed = await OperatorBed.open(inject('kubeconfig'), 'changes');
    await bed.operate();
  }, 120_000);
  afterAll(() => bed.close());

  /** Streams one after the other until `over` holds; how many ended well. Throws with the first that did not. */
  async function load(name: string, over: () => boolean): Promise<number> {
    let count = 0;
    while (!over()) {
      await bed.stream(name, 30);
      count += 1;
    }
    return count;
  }

  it('rolls instances and routers without losing a stream', async () => {
    await bed.put('roll', sim({ prefill: { replicas: 1 }, router: { replicas: 2 } }));
    await bed.settled('roll');
    const before = new Map((await bed.pods('roll')).map(({ metadata }) => [metadata.name, metadata.uid]));
    let over = false;
    const clients = [load('roll', () => over), load('roll', () => over), load('roll', () => over)];
    const engine = { type: 'sim', maxSequences: 8, sim: { costs: { stepFixed: 10 } } };
    await bed.put('roll', sim({ engine, prefill: { replicas: 1 }, router: { replicas: 2, limits: { queue: 77 } } }));
    await bed.settled('roll');
    over = true;
    for (const client of clients) expect(await client).toBeGreaterThan(0);
    const after = await bed.pods('roll');
    expect(after).toHaveLength(4);
    expect(after.filter(({ metadata }) => before.get(metadata.name) === metadata.uid)).toEqual([]);
  });

  it('drains before it deletes: first the mark, then the routers, the end when the last request has gone', async () => {
    await bed.put('drain', sim({ decode: { replicas: 2 } }));
    await bed.settled('drain');
    const admin = (await bed.endpoint('drain')).replace(/:\d+$/, ':8081');
    const list = async () => {
      const { instances }: { readonly instances: readonly { id: string; draining: boolean; inFlight: number }[] } = JSON.parse(
        await (await fetch(`${admin}/admin/instances`)).text(),
      );
      return instances;
    };
    const streams = [1, 2, 3, 4].map(() => bed.stream('drain', 400));
    await until(
      async () => (await list()).every(({ inFlight }) => inFlight > 0),
      () => 'not every instance has requests',
    );
    const listed = (await list()).map(({ id }) => id);
    await bed.put('drain', sim());
    let pod: string | undefined;
    await until(
      async () => {
        const pods = await bed.pods('drain', 'mixed');
        pod = pods.find(({ metadata }) => metadata.annotations?.['serving.sluice.dev/draining-since'])?.metadata.name;
        return pod !== undefined;
      },
      () => bed.log(),
      SLOW_MS,
    );
    const id = pod?.replace('drain-', '');
    expect(listed).toContain(id);
    await until(
      async () => {
        const one = (await list()).find((there) => there.id === id);
        // Who looks seldom may find that it has gone already.
        return one === undefined || one.draining;
      },
      () => bed.log(),
      SLOW_MS,
    );
    // The pod is looked at first: what is deleted then has had no request since before.
    await until(
      async () => {
        const left = (await bed.pods('drain', 'mixed')).find(({ metadata }) => metadata.name === pod);
        if (left?.metadata.deletionTimestamp) expect((await list()).find((one) => one.id === id)?.inFlight ?? 0).toBe(0);
        return left === undefined;
      },
      () => bed.log(),
      SLOW_MS,
    );
    expect(await Promise.all(streams)).toEqual([400, 400, 400, 400]);
    await bed.settled('drain');
    expect(await bed.podNames('drain', 'mixed')).toHaveLength(1);
  });

  it('says what keeps a pod from starting, and goes on when that is mended', async () => {
    bed.kubelet.holdScheduling(({ metadata }) => metadata.name.startsWith('stuck-mixed'));
    await bed.put('stuck', sim());
    await until(
      async () => (await bed.condition('stuck', 'DecodeReady'))?.reason === 'InstancesBlocked',
      () => bed.log(),
      SLOW_MS,
    );
    const ready = await bed.condition('stuck', 'Ready');
    expect(ready).toMatchObject({ status: 'False', reason: 'InstancesBlocked' });
    expect(ready?.message).toMatch(/mixed-0 cannot start: .*Insufficient cpu/);
    bed.kubelet.holdScheduling(null);
    await bed.settled('stuck');
    bed.kubelet.failPull(({ metadata }) => metadata.name.startsWith('stuck-mixed'));
    await bed.put('stuck', sim({ engine: { type: 'sim', image: 'nowhere/engine:1' } }));
    await until(
      async () =>
        /nowhere\/engine:1/.test((await bed.condition('stuck', 'Stalled'))?.message ?? '') || (await bed.pods('stuck', 'mixed')).length > 1,
      () => bed.log(),
      SLOW_MS,
    );
    // The old one serves on.
    expect(await bed.stream('stuck', 3)).toBe(3);
    bed.kubelet.failPull(null);
    await bed.settled('stuck');
  });

  it('brings back an instance that crashed, and one whose pod was evicted', async () => {
    await bed.put('crash', sim({ decode: { replicas: 2 } }));
    await bed.settled('crash');
    bed.kubelet.kill('crash-mixed-0');
    await until(
      async () => (await bed.condition('crash', 'Ready'))?.status === 'False',
      () => bed.log(),
      SLOW_MS,
    );
    await bed.settled('crash');
    await bed.kubelet.evict('crash-mixed-1');
    await until(
      async () => (await bed.condition('crash', 'Ready'))?.status === 'False',
      () => bed.log(),
      SLOW_MS,
    );
    await bed.settled('crash');
    expect(await bed.stream('crash', 3)).toBe(3);
  });

  it('takes over nothing that belongs to others', async () => {
    const services = `/api/v1/namespaces/${bed.namespace}/services`;
    await bed.admin.demand('POST', services, { body: { metadata: { name: 'mine' }, spec: { ports: [{ port: 1 }] } } });
    await bed.put('mine', sim());
    await until(
      async () => (await bed.condition('mine', 'Stalled'))?.reason === 'ObjectsRefused',
      () => bed.log(),
      SLOW_MS,
    );
    expect((await bed.condition('mine', 'Ready'))?.message).toMatch(/Service mine exists and does not belong to this deployment/);
    expect(await bed.admin.demand('GET', `${services}/mine`)).toMatchObject({ spec: { ports: [{ port: 1 }] } });
    await bed.admin.demand('DELETE', `${services}/mine`);
    await bed.settled('mine');
    await bed.remove('mine');
  });

  it('says what is wrong with a spec that only pods cannot have', async () => {
    await bed.put('wrong', { model: { name: 'm', source: 'org/model' }, engine: { type: 'vllm' }, decode: {} });
    await until(
      async () => (await bed.condition('wrong', 'Ready'))?.reason === 'InvalidSpec',
      () => bed.log(),
      SLOW_MS,
    );
    expect((await bed.condition('wrong', 'Stalled'))?.message).toMatch(/spec\.engine\.image is missing: expected a container image/);
    expect(await bed.pods('wrong')).toEqual([]);
    await bed.remove('wrong');
  });

  it('makes nothing anew of a deployment that was deleted', async () => {
    await bed.put('gone', sim());
    await bed.settled('gone');
    const known = bed.known();
    await bed.remove('gone');
    await until(
      () => bed.known() < known,
      () => 'it is not seen that it was deleted',
    );
    const writes = bed.writes().filter((request) => request.includes('/gone'));
    // As garbage collection does, which this control plane does not run.
    for (const name of await bed.podNames('gone')) await bed.admin.request('DELETE', `/api/v1/namespaces/${bed.namespace}/pods/${name}`);
    await until(
      async () => (await bed.pods('gone')).length === 0,
      () => 'its pods do not end',
    );
    await bed.put('next', sim());
    await bed.settled('next');
    expect(await bed.pods('gone')).toEqual([]);
    expect(bed.writes().filter((request) => request.includes('/gone'))).toEqual(writes);
  });
});
