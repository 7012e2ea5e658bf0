/**
 * Two operators as users run them, and an API server that is away, or that the leader alone cannot reach. The API server's own audit log
 * tells who wrote when: there is one writer at a time.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readKubeconfig, writeKubeconfig } from '../admin.ts';
import { startCluster, type TestCluster } from '../apiserver.ts';
import { type Asked, Audit } from '../audit.ts';
import { until } from '../bed.ts';
import { ChaosBed, isStaying } from '../chaosbed.ts';
import { IMAGE, installCrds, OperatorProcess, SLOW_MS } from '../operatorbed.ts';
import { Relay } from '../relay.ts';

/** As the operator has it: `DEFAULT_TIMING` of the election. */
const LEASE_MS = 15_000;
const RENEW_WITHIN_MS = 10_000;
const NAME = 'chat';
const BOUNDS = { prefill: { floor: 2, ceiling: 3 }, decode: { floor: 2, ceiling: 3 }, router: { floor: 1, ceiling: 2 } };

function sim(sequences: number): object {
  return {
    model: { name: 'simulated' },
    engine: { type: 'sim', maxSequences: sequences },
    prefill: { replicas: 2 },
    decode: { replicas: 2 },
  };
}

describe('two operators', { timeout: 600_000 }, () => {
  const audit = new Audit();
  let cluster: TestCluster;
  let bed: ChaosBed;
  let relay: Relay;
  let first: OperatorProcess;
  let second: OperatorProcess;

  beforeAll(async () => {
    cluster = await startCluster({ flags: audit.flags() });
    await installCrds(cluster.admin);
  }, 300_000);
  afterAll(async () => {
    await cluster.stop();
    audit.remove();
  });

  /** The first reaches the API server through the relay, and leads; the second waits. */
  beforeEach(async () => {
    bed = await ChaosBed.open(cluster.kubeconfig, 'outage');
    relay = await Relay.open(Number(new URL(cluster.server).port));
    const file = await account('first');
    writeKubeconfig(file, { ...readKubeconfig(file), server: `https://127.0.0.1:${relay.port}` });
    first = operator(file);
    await first.said('rounds begin');
    second = operator(await account('second'));
    await second.said('waits: another one leads');
    await bed.put(NAME, sim(8));
    await bed.settled(NAME, story);
    bed.demand(BOUNDS);
    expect(await leaders(), story()).toEqual([1, 0]);
  }, 300_000);
  afterEach(async () => {
    if (!cluster.apiServer.running) await cluster.restart();
    await Promise.all([first.end('SIGKILL'), second.end('SIGKILL')]);
    relay.close();
    await bed.close();
  });

  async function account(name: string): Promise<string> {
    const { namespace } = bed;
    const file = await cluster.admin.serviceAccount(namespace, name);
    const body = {
      metadata: { name: `${namespace}-${name}` },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
      subjects: [{ kind: 'ServiceAccount', name, namespace }],
    };
    await cluster.admin.demand('POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', { body });
    return file;
  }

  function operator(kubeconfig: string): OperatorProcess {
    const { namespace } = bed;
    const scope = ['--namespace', namespace, '--lease-namespace', namespace];
    return new OperatorProcess(['--kubeconfig', kubeconfig, ...scope, '--image', IMAGE, '--health-port', '0']);
  }

  function story(): string {
    return [first, second].map((one) => one?.stderr().slice(-3_000)).join('\n--\n');
  }

  /** What the operators wrote of the deployment, which the Lease is not. */
  function writes(): Asked[] {
    return audit.requests([`${bed.namespace}:first`, `${bed.namespace}:second`]).filter(({ resource }) => resource !== 'leases');
  }

  function turns(): string[] {
    const all = writes().map(({ user }) => user.slice(user.indexOf(':') + 1));
    return all.filter((user, index) => all[index - 1] !== user);
  }

  async function leaders(): Promise<number[]> {
    const ask = async (one: OperatorProcess) => {
      const text = await (await fetch(`${String((await one.said('listens'))['url'])}/metrics`)).text();
      return Number(/^sluice_operator_leader (\d)$/m.exec(text)?.[1]);
    };
    return [await ask(first), await ask(second)];
  }

  async function expectOrder(): Promise<void> {
    await bed.settled(NAME, story);
    // The kubelet has a watch of its own.
    await until(() => bed.kubelet.pods().length === 5, story, SLOW_MS);
    expect(bed.kubelet.pods().filter(isStaying)).toHaveLength(5);
    expect(bed.violations, story()).toEqual([]);
    expect((await leaders()).reduce((sum, one) => sum + one)).toBe(1);
  }

  it('end a roll that an API server left half done which was away for longer than the lease', async () => {
    await bed.put(NAME, sim(9));
    await until(() => bed.kubelet.pods().some((pod) => !isStaying(pod)), story, SLOW_MS);
    await cluster.apiServer.kill();
    await until(async () => String(await leaders()) === '0,0', story, SLOW_MS);
    await delay(LEASE_MS - RENEW_WITHIN_MS + 1_000);
    expect(await leaders()).toEqual([0, 0]);
    await cluster.restart();
    await expectOrder();
    expect(new Set(turns()).size, `${turns().join(' ')}\n${story()}`).toBe(turns().length);
  });

  it('never write both, when the leader was cut off while it wrote and the network comes back late', async () => {
    relay.cut('upstream');
    // Not at once: what it sends now is still under way when its lease has run out.
    await delay(RENEW_WITHIN_MS * 0.6);
    const before = relay.heldBytes;
    await bed.put(NAME, sim(9));
    await until(() => relay.heldBytes > before + 1_000, story);
    relay.cut('both');
    await second.said('rounds begin');
    await until(() => turns().includes('second'), story, SLOW_MS);
    await relay.mend();
    await until(() => first.lines().at(-1)?.['msg'] === 'waits: another one leads', story, SLOW_MS);
    await expectOrder();
    expect(turns(), JSON.stringify(writes().slice(-80), null, 1)).toEqual(['first', 'second']);
    expect(await leaders()).toEqual([0, 1]);
  });
});
