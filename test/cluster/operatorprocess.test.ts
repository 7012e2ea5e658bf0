/** `sluice operator` as a process: what it says when it cannot work, its end, its sudden death, and two of them. */
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import { startCluster } from './apiserver.ts';
import { until } from './bed.ts';
import { OperatorBed, OperatorProcess, SLOW_MS } from './operatorbed.ts';

function sim(change: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return { model: { name: 'simulated' }, engine: { type: 'sim' }, decode: { replicas: 1 }, ...change };
}

describe('sluice operator', { timeout: 300_000 }, () => {
  let bed: OperatorBed;
  beforeAll(async () => {
    bed = await OperatorBed.open(inject('kubeconfig'), 'process');
  }, 120_000);
  afterEach(() => bed.endAll());
  afterAll(() => bed.close());

  it('says what to do when it has no cluster, no image, or no rights', async () => {
    const refused = async (args: readonly string[]) => {
      const process = new OperatorProcess(args, { SLUICE_IMAGE: '' });
      return { code: await process.exit, said: process.stderr() };
    };
    expect(await refused([])).toMatchObject({ code: 2, said: expect.stringContaining('--image must name the container image') });
    const nowhere = await refused(['--image', 'i']);
    expect(nowhere).toMatchObject({ code: 1, said: expect.stringContaining('--kubeconfig') });
    const nobody = await bed.admin.serviceAccount(bed.namespace, 'nobody');
    const powerless = await refused(['--image', 'i', '--kubeconfig', nobody, '--namespace', bed.namespace]);
    expect(powerless.code).toBe(1);
    expect(powerless.said).toMatch(/verb "list" on resource "servingdeployments" of API group "serving.sluice.dev"/);
    expect(powerless.said).toContain('kubectl apply -f manifests/operator/rbac.yaml');
  });

  it('says how to install its resources where they are missing', async () => {
    const bare = await startCluster();
    try {
      const process = new OperatorProcess(['--image', 'i', '--kubeconfig', bare.kubeconfig]);
      expect(await process.exit).toBe(1);
      expect(process.stderr()).toContain('kubectl apply --server-side -f crds/');
    } finally {
      await bare.stop();
    }
  });

  it('goes on where one that was killed stopped, with no pod too many', async () => {
    const first = bed.run();
    await first.said('leads');
    await bed.put('killed', sim({ decode: { replicas: 3 } }));
    await until(
      async () => (await bed.pods('killed')).length > 0,
      () => first.stderr(),
      SLOW_MS,
    );
    await first.end('SIGKILL');
    // Its lease is nobody's any more when it has run out.
    bed.run(['--no-leader-elect']);
    await bed.settled('killed');
    expect(await bed.podNames('killed')).toEqual(['killed-mixed-0', 'killed-mixed-1', 'killed-mixed-2', 'killed-router-0']);
    expect(await bed.stream('killed', 3)).toBe(3);
    await bed.remove('killed');
  });

  it('acts alone of two, and gives the lease back when it is asked to end', async () => {
    const first = bed.run();
    await first.said('rounds begin');
    const second = bed.run();
    await second.said('waits: another one leads');
    const url = String((await second.said('listens'))['url']);
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    expect(await (await fetch(`${url}/metrics`)).text()).toContain('sluice_operator_leader 0');
    await bed.put('two', sim());
    await bed.settled('two');
    expect(second.lines().filter(({ msg }) => msg === 'step')).toEqual([]);
    expect(first.lines().filter(({ msg, object }) => msg === 'step' && object === `${bed.namespace}/two`)).not.toEqual([]);
    expect(await first.end('SIGTERM')).toBe(0);
    expect(first.lines().map(({ msg }) => msg)).toContain('the lease is given back');
    // At once, not after the 15 s of a lease that nobody gave back.
    await second.said('rounds begin');
    await bed.put('two', sim({ decode: { replicas: 2 } }));
    await until(
      async () => (await bed.podNames('two', 'mixed')).length === 2,
      () => second.stderr(),
      SLOW_MS,
    );
    expect(await (await fetch(`${url}/metrics`)).text()).toContain('sluice_operator_leader 1');
    expect(await second.end('SIGTERM')).toBe(0);
  });
});
