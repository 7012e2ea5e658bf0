/** PinnedContexts on a real API server, with pods that are real processes: where they are, what happens to their instances, and letting go. */
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { until } from './bed.ts';
import { OperatorBed, SLOW_MS, type Stored } from './operatorbed.ts';

const TEXT = 'The same beginning of very many requests. '.repeat(40);
const BLOCK_BYTES = 4_096;

interface PinnedStored extends Stored {
  readonly status?: Stored['status'] & {
    readonly tokens?: number;
    readonly blocks?: number;
    readonly bytes?: number;
    readonly resident?: string;
    readonly holders?: readonly { readonly instance: string; readonly bytes: number }[];
  };
}

interface Pins {
  readonly instances: readonly {
    readonly id: string;
    readonly incarnation: string | null;
    readonly view: { readonly pinnedBytes: number; readonly pins: readonly { readonly leftMs: number }[] } | null;
  }[];
}

function sim(change: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  const engine = { type: 'sim', sim: { costs: { stepFixed: 10 } } };
  return { model: { name: 'simulated' }, engine, prefill: { replicas: 2 }, decode: { replicas: 1 }, ...change };
}

describe('a PinnedContext', { timeout: 400_000 }, () => {
  let bed: OperatorBed;
  beforeAll(async () => {
    bed = await OperatorBed.open(inject('kubeconfig'), 'pinned');
    await bed.operate();
  }, 120_000);
  afterAll(() => bed?.close());

  const stored = () => bed.admin.demand<PinnedStored>('GET', bed.path('pinnedcontexts', 'handbook'));
  const put = (change: object = {}) => bed.putPinned('handbook', { deploymentRef: { name: 'chat' }, text: TEXT, ...change });

  async function says(reason: string, holds: (one: PinnedStored) => boolean = () => true): Promise<PinnedStored> {
    let last: PinnedStored | null = null;
    await until(
      async () => {
        last = await stored();
        const ready = last.status?.conditions?.find(({ type }) => type === 'Ready');
        return last.status?.observedGeneration === last.metadata.generation && ready?.reason === reason && holds(last);
      },
      () => `${JSON.stringify(last?.status, null, 1)}\n${bed.log()}`,
      SLOW_MS,
    );
    return stored();
  }
  /** What the instances themselves say. */
  async function instances(): Promise<Pins['instances']> {
    const [router] = await bed.pods('chat', 'router');
    const port = router?.spec?.containers[0]?.ports?.find(({ name }) => name === 'admin')?.containerPort;
    const answer = await fetch(`http://${router?.status?.podIP}:${port}/admin/pins`);
    return ((await answer.json()) as Pins).instances;
  }
  /** What people were told, each once: `type reason note`. */
  async function told(): Promise<readonly string[]> {
    const { items } = await bed.admin.demand<{
      readonly items: readonly Readonly<Record<'type' | 'reason' | 'note', string> & { regarding: { kind: string } }>[];
    }>('GET', `/apis/events.k8s.io/v1/namespaces/${bed.namespace}/events`);
    return items.flatMap(({ type, reason, note, regarding }) => (regarding.kind === 'PinnedContext' ? [`${type} ${reason} ${note}`] : []));
  }
  async function isTold(event: RegExp): Promise<void> {
    let all: readonly string[] = [];
    await until(
      async () => {
        all = await told();
        return all.some((one) => event.test(one));
      },
      () => `${event}: ${JSON.stringify(all, null, 1)}\n${bed.log()}`,
      SLOW_MS,
    );
  }
  const pinned = async () => (await instances()).map(({ view }) => view?.pinnedBytes ?? 0).sort((a, b) => a - b);

  it('waits for its deployment, and says so', async () => {
    await put();
    const { status } = await says('DeploymentMissing');
    expect(status).toMatchObject({ resident: '0/1', bytes: 0, holders: [] });
  });

  it('is held by an instance that computes prompts, and says where and what it costs', async () => {
    await bed.put('chat', sim());
    await bed.settled('chat');
    const { status } = await says('Resident');
    const blocks = status?.blocks ?? 0;
    expect(blocks).toBeGreaterThan(10);
    expect(status).toMatchObject({
      resident: '1/1',
      bytes: blocks * BLOCK_BYTES,
      holders: [{ instance: expect.stringMatching(/^prefill-/) }],
    });
    expect(await pinned()).toEqual([0, 0, blocks * BLOCK_BYTES]);
    await isTold(/^Normal Pin prefill-\d: it does not have it$/);
    await isTold(/^Normal Resident 1 instance holds it: prefill-\d$/);
    const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io';
    const { columnDefinitions, rows } = await bed.admin.demand<{
      readonly columnDefinitions: readonly { readonly name: string }[];
      readonly rows: readonly { readonly cells: readonly unknown[] }[];
    }>('GET', bed.path('pinnedcontexts', 'handbook'), { accept });
    const shown = Object.fromEntries(columnDefinitions.map(({ name }, index) => [name, rows[0]?.cells[index]]));
    expect(shown).toMatchObject({ Name: 'handbook', Deployment: 'chat', Resident: '1/1', Bytes: status?.bytes, Ready: 'True' });
  });

  it('writes nothing while nothing changes', async () => {
    const { metadata } = await says('Resident');
    const leftMs = async () => Math.max(...(await instances()).flatMap(({ view }) => view?.pins.map((one) => one.leftMs) ?? []));
    let least = await leftMs();
    await until(
      async () => {
        const now = await leftMs();
        least = Math.min(least, now);
        return now > least + 2_000;
      },
      () => `it is not renewed: ${least}`,
      SLOW_MS,
    );
    expect((await stored()).metadata.resourceVersion).toBe(metadata.resourceVersion);
  });

  it('is held by as many as are wanted, and by no more when fewer are', async () => {
    await put({ replicas: 2 });
    const { status } = await says('Resident');
    expect(status?.holders?.map(({ instance }) => instance)).toEqual(['prefill-0', 'prefill-1']);
    await put({ replicas: 1 });
    await says('Resident', (one) => one.status?.holders?.length === 1);
    await until(
      async () => (await pinned()).filter((bytes) => bytes > 0).length === 1,
      () => bed.log(),
      SLOW_MS,
    );
    await isTold(/^Normal Unpin prefill-\d: others hold it$/);
    await put({ replicas: 3 });
    const short = await says('TooFewInstances');
    expect(short.status?.conditions?.find(({ type }) => type === 'Ready')?.message).toMatch(
      /2 of chat can hold it; start more, or lower spec\.replicas/,
    );
    await put({ replicas: 2 });
    await says('Resident');
  });

  it('is pinned again where an instance was killed, also by an operator that knows nothing', async () => {
    await bed.rest();
    await bed.operate();
    await says('Resident');
    const holders = async () => (await instances()).flatMap(({ incarnation, view }) => ((view?.pinnedBytes ?? 0) > 0 ? [incarnation] : []));
    const before = await holders();
    const [victim] = await bed.pods('chat', 'prefill');
    await bed.admin.demand('DELETE', `/api/v1/namespaces/${bed.namespace}/pods/${victim?.metadata.name}?gracePeriodSeconds=0`);
    await until(
      async () => {
        const now = await holders();
        return now.length === 2 && now.some((incarnation) => !before.includes(incarnation));
      },
      () => bed.log(),
      SLOW_MS,
    );
    const { status } = await says('Resident');
    expect(status).toMatchObject({ resident: '2/2' });
  });

  it('is another one when its text is edited', async () => {
    const before = (await stored()).status?.tokens ?? 0;
    await put({ replicas: 2, text: TEXT.slice(0, TEXT.length / 2) });
    const { status } = await says('Resident', (one) => (one.status?.tokens ?? before) < before);
    const bytes = (status?.blocks ?? 0) * BLOCK_BYTES;
    expect(await pinned()).toEqual([0, bytes, bytes]);
  });

  it('is let go when it is deleted', async () => {
    await bed.admin.demand('DELETE', bed.path('pinnedcontexts', 'handbook'));
    await until(
      async () => (await pinned()).every((bytes) => bytes === 0),
      () => bed.log(),
      60_000, // it would lapse after two minutes
    );
  });

  it('says of an engine that cannot pin that it cannot', async () => {
    await bed.put('foreign', { model: { name: 'm' }, engine: { type: 'vllm', image: 'vllm:none' }, decode: { replicas: 1 } });
    await bed.putPinned('handbook', { deploymentRef: { name: 'foreign' }, text: TEXT });
    const { status } = await says('EngineCannotPin');
    expect(status?.conditions?.find(({ type }) => type === 'Stalled')).toMatchObject({ status: 'True', reason: 'EngineCannotPin' });
    await isTold(/^Warning PinStalled EngineCannotPin: vllm decides by itself/);
    await bed.remove('foreign');
  });
});
