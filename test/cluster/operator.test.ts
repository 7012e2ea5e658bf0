/** The operator against a real API server, with pods that are real processes: what a user asks for comes about, and the status says so. */
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { Receiver } from '../../src/telemetry/traces/receiver.fixture.ts';
import { until } from './bed.ts';
import { OperatorBed, SLOW_MS, type Stored } from './operatorbed.ts';

function sim(change: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return {
    model: { name: 'simulated' },
    engine: { type: 'sim', sim: { costs: { stepFixed: 10 } } },
    prefill: { replicas: 1 },
    decode: { replicas: 1 },
    router: { replicas: 2 },
    ...change,
  };
}

describe('the operator', { timeout: 300_000 }, () => {
  let bed: OperatorBed;
  beforeAll(async () => {
    bed = await OperatorBed.open(inject('kubeconfig'), 'operator');
    await bed.operate();
  }, 120_000);
  afterAll(() => bed.close());

  it('brings a deployment up: pods, Service, budgets, a request through the router, and a status that is true', async () => {
    await bed.put('chat', sim());
    const { status, metadata } = await bed.settled('chat');
    expect(await bed.podNames('chat')).toEqual(['chat-decode-0', 'chat-prefill-0', 'chat-router-0', 'chat-router-1']);
    expect(status).toMatchObject({
      observedGeneration: metadata.generation,
      url: `http://chat.${bed.namespace}.svc:80`,
      roles: [
        { role: 'prefill', desired: 1, ready: 1, updated: 1, draining: 0, instances: '1/1' },
        { role: 'decode', desired: 1, ready: 1, updated: 1, draining: 0, instances: '1/1' },
      ],
    });
    expect(await bed.stream('chat', 5)).toBe(5);
    const pool = await bed.pool('chat-decode');
    expect(pool.status).toMatchObject({ replicas: 1, readyReplicas: 1, observedGeneration: pool.metadata.generation });
    const budget = await bed.admin.demand('GET', `/apis/policy/v1/namespaces/${bed.namespace}/poddisruptionbudgets/chat-decode`);
    expect(budget).toMatchObject({ spec: { maxUnavailable: 1 } });
  });

  it('says who may reach the pods, unless it is told not to', async () => {
    const policies = async () => {
      const path = `/apis/networking.k8s.io/v1/namespaces/${bed.namespace}/networkpolicies`;
      const { items } = await bed.admin.demand<{ readonly items: readonly Pick<Stored, 'metadata'>[] }>('GET', path);
      return items.map(({ metadata }) => metadata.name).filter((name) => name.startsWith('chat-'));
    };
    await bed.put('chat', sim());
    await bed.settled('chat');
    expect(await policies()).toEqual(['chat-instances', 'chat-router']);
    const pods = await bed.podNames('chat');
    await bed.put('chat', sim({ network: { policies: 'None' } }));
    await until(
      async () => (await policies()).length === 0,
      () => bed.log(),
    );
    await bed.settled('chat');
    // No pod is replaced for that.
    expect(await bed.podNames('chat')).toEqual(pods);
  });

  it('writes nothing when nothing changes, also on a round that something else caused', async () => {
    await bed.put('chat', sim());
    await bed.settled('chat');
    const writes = () => bed.writes().filter((request) => !request.includes('/events'));
    const before = writes();
    // Labels of others cause rounds that find nothing to do.
    for (let count = 0; count < 3; count += 1) {
      const rounds = bed.rounds('chat');
      const body = { metadata: { labels: { round: String(count) } } };
      await bed.admin.demand('PATCH', bed.path('servingdeployments', 'chat'), { body, contentType: 'application/merge-patch+json' });
      await until(
        () => bed.rounds('chat') > rounds,
        () => 'no round followed',
      );
    }
    expect(writes()).toEqual(before);
  });

  it('is scaled through the pool, says so, and follows the deployment again when they agree', async () => {
    await bed.put('chat', sim());
    await bed.settled('chat');
    const scale = async (replicas: number) => {
      const path = `${bed.path('servingpools', 'chat-decode')}/scale`;
      await bed.admin.demand('PATCH', path, { body: { spec: { replicas } }, contentType: 'application/merge-patch+json' });
    };
    const shows = async (instances: string) => {
      const decode = async () => (await bed.deployment('chat')).status?.roles?.find(({ role }) => role === 'decode')?.['instances'];
      await until(
        async () => (await decode()) === instances,
        () => bed.log(),
        SLOW_MS,
      );
    };
    await scale(2);
    await shows('2/2');
    expect(await bed.podNames('chat', 'decode')).toHaveLength(2);
    expect((await bed.condition('chat', 'DecodeReady'))?.message).toMatch(/2 are wanted because ServingPool chat-decode was scaled/);
    await bed.put('chat', sim({ decode: { replicas: 3 } }));
    await bed.settled('chat');
    expect(await bed.podNames('chat', 'decode')).toHaveLength(2);
    expect((await bed.condition('chat', 'DecodeReady'))?.message).toMatch(/kubectl scale servingpool chat-decode .*--replicas=3/);
    await scale(3);
    await shows('3/3');
    await bed.put('chat', sim());
    await bed.settled('chat');
    expect(await bed.podNames('chat', 'decode')).toHaveLength(1);
    expect((await bed.condition('chat', 'DecodeReady'))?.message).toBe('1 of 1 decode instances are ready');
  });

  it('serves with llama.cpp: the prompt on one instance, the answer on another', async () => {
    await bed.put('llama', {
      model: { name: 'tiny', source: 'builtin:tiny' },
      engine: { type: 'llamacpp', contextTokens: 2048, maxSequences: 4 },
      prefill: {},
      decode: {},
      kv: { hbm: { capacity: '64Mi' }, host: { capacity: '64Mi' } },
    });
    await bed.settled('llama');
    expect(await bed.podNames('llama')).toEqual(['llama-decode-0', 'llama-prefill-0', 'llama-router-0']);
    const url = await bed.endpoint('llama');
    const answer = await fetch(`${url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-request-id': 'through-both' },
      body: JSON.stringify({ model: 'tiny', prompt: 'once upon a time '.repeat(60), max_tokens: 8, seed: 1 }),
    });
    expect(answer.status, await answer.text()).toBe(200);
    const record: { readonly attempts: readonly { readonly decision: { readonly chosen: object } }[] } = JSON.parse(
      await (await fetch(`${url.replace(/:\d+$/, ':8081')}/admin/requests/through-both`)).text(),
    );
    expect(record.attempts.at(-1)?.decision.chosen).toMatchObject({ prefill: 'prefill-0', decode: 'decode-0' });
  });

  it('shows in columns what kubectl get prints', async () => {
    await bed.put('chat', sim());
    await bed.settled('chat');
    const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io';
    const { columnDefinitions, rows } = await bed.admin.demand<{
      readonly columnDefinitions: readonly { readonly name: string }[];
      readonly rows: readonly { readonly cells: readonly unknown[] }[];
    }>('GET', bed.path('servingdeployments', 'chat'), { accept });
    const shown = Object.fromEntries(columnDefinitions.map(({ name }, index) => [name, rows[0]?.cells[index]]));
    expect(shown).toMatchObject({ Name: 'chat', Model: 'simulated', Ready: 'True' });
  });

  it('has routers send traces to a collector', async () => {
    const receiver = new Receiver();
    try {
      await bed.put('chat', sim({ router: { replicas: 1, tracing: { endpoint: await receiver.listen() } } }));
      await bed.settled('chat');
      expect(await bed.stream('chat', 5)).toBe(5);
      const requests = () => receiver.spans.filter(({ kind }) => kind === 'server');
      await until(
        () => requests().length > 0,
        () => `no spans came: ${receiver.faults.join()} ${bed.log()}`,
      );
      expect(requests()[0]?.resource).toMatchObject({ 'service.name': 'chat-router', 'service.namespace': bed.namespace });
      expect(receiver.faults).toEqual([]);
    } finally {
      await receiver.close();
    }
  });
});
