/** What a real API server does not do at our word: overload, gateways, lists that grow old, answers that are none. */
import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../shared/index.ts';
import { CONFIG_MAPS } from './builtin.ts';
import { KubernetesClient } from './client.ts';
import { KubernetesError } from './failure.ts';
import { LostConnection, type Transport, type WireRequest, type WireResponse } from './transport.ts';

type Reply = { readonly status: number; readonly body: unknown; readonly retryAfter?: string } | Error | 'never';

/** Answers in order; the clock runs by itself when the client waits. */
function scene(...replies: Reply[]) {
  const requests: WireRequest[] = [];
  const clock = new FakeClock();
  const waits: number[] = [];
  const running: typeof clock.after = (ms, run) => {
    const cancel = FakeClock.prototype.after.call(clock, ms, run);
    // Only what nothing else wakes: a wait between tries, or the end of a try that is never answered.
    const replyless = replies[requests.length - 1] === 'never' && requests.length > 0;
    if (ms !== TIMEOUT_MS || replyless) {
      waits.push(ms);
      setImmediate(() => clock.advance(ms));
    }
    return cancel;
  };
  const transport: Transport = {
    async send(request) {
      requests.push(request);
      const reply = replies[requests.length - 1];
      if (reply === undefined) throw new Error('asked once too often');
      if (reply instanceof Error) throw reply;
      if (reply === 'never') return hang(request.signal, () => clock.advance(TIMEOUT_MS));
      return respond(reply);
    },
    close: () => {},
  };
  const client = new KubernetesClient({
    transport,
    fieldManager: 'sluice',
    clock: { now: () => clock.now(), wall: () => clock.wall(), after: running },
    random: () => 0,
    timeoutMs: TIMEOUT_MS,
  });
  return { client, requests, waits };
}

const TIMEOUT_MS = 15_000;
const REFERENCE = { name: 'a', namespace: 'n' };
const OBJECT = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { ...REFERENCE, uid: 'u', resourceVersion: '1' } };
const status = (code: number, more: Record<string, unknown> = {}) => ({
  status: code,
  body: { kind: 'Status', message: `code ${code}`, ...more },
});

function hang(signal: AbortSignal, then: () => void): Promise<WireResponse> {
  setImmediate(then);
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted'))));
}

function respond({ status: code, body, retryAfter }: { status: number; body: unknown; retryAfter?: string }): WireResponse {
  const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
  return { status: code, retryAfter: retryAfter ?? null, body: ReadableStream.from([bytes.subarray(0, 3), bytes.subarray(3)]) };
}

async function failure(work: Promise<unknown>): Promise<KubernetesError> {
  const thrown = await work.catch((error: unknown) => error);
  if (thrown instanceof KubernetesError) return thrown;
  throw new Error(`no KubernetesError: ${JSON.stringify(thrown)}`);
}

describe('a call', () => {
  it('is tried again after what passes, longer each time', async () => {
    const { client, requests, waits } = scene(status(503), new LostConnection('refused', false), status(500), {
      status: 200,
      body: OBJECT,
    });
    expect(await client.get(CONFIG_MAPS, REFERENCE)).toEqual(OBJECT);
    expect(requests).toHaveLength(4);
    expect(waits).toEqual([100, 200, 400]);
  });

  it('waits as long as the API server asks for, and not longer than 30 s', async () => {
    const { client, waits } = scene(
      { ...status(429), retryAfter: '7' },
      { ...status(429), retryAfter: '3600' },
      { status: 200, body: OBJECT },
    );
    await client.get(CONFIG_MAPS, REFERENCE);
    expect(waits).toEqual([7_000, 30_000]);
  });

  it('is given up after five tries', async () => {
    const { client, requests } = scene(...Array.from({ length: 6 }, () => status(429)));
    expect(await failure(client.get(CONFIG_MAPS, REFERENCE))).toMatchObject({ reason: 'overloaded', code: 'unavailable' });
    expect(requests).toHaveLength(5);
  });

  it('is not repeated when that would not help', async () => {
    for (const code of [400, 401, 403, 405, 501]) {
      const { client, requests } = scene(status(code));
      await failure(client.get(CONFIG_MAPS, REFERENCE));
      expect(requests).toHaveLength(1);
    }
  });

  it('that is never answered ends in time', async () => {
    const { client, requests } = scene('never', 'never');
    const ended = await failure(client.get(CONFIG_MAPS, REFERENCE, { attempts: 2 }));
    expect(ended).toMatchObject({ reason: 'timeout', code: 'deadline_exceeded' });
    expect(ended.message).toBe(
      'cannot get configmaps "a" in namespace "n": the API server did not answer within 15000 ms. Check its load and the network.',
    );
    expect(requests.every(({ signal }) => signal.aborted)).toBe(true);
  });

  it('ends when its caller does, also between two tries', async () => {
    const stop = new AbortController();
    const { client, requests } = scene(status(503), status(503));
    const work = client.get(CONFIG_MAPS, REFERENCE, { signal: stop.signal });
    await new Promise((resolve) => setImmediate(resolve));
    stop.abort();
    expect(await failure(work)).toMatchObject({ reason: 'aborted' });
    expect(requests.length).toBeLessThan(3);
    expect(await failure(client.get(CONFIG_MAPS, REFERENCE, { signal: AbortSignal.abort() }))).toMatchObject({ reason: 'aborted' });
  });

  it('through a gateway that answers with a page of its own says what that said', async () => {
    const { client } = scene({ status: 403, body: '<html>go away</html>' });
    expect((await failure(client.get(CONFIG_MAPS, REFERENCE))).message).toMatch('<html>go away</html>');
  });

  it.each([
    ['no JSON', 'hello'],
    ['no object', { metadata: {} }],
    ['another kind', { ...OBJECT, kind: 'Secret' }],
  ])('answered with %s is a fault of protocol', async (_what, body) => {
    const { client } = scene({ status: 200, body });
    expect(await failure(client.get(CONFIG_MAPS, REFERENCE))).toMatchObject({ reason: 'protocol' });
  });

  it('without the namespace that its resource needs is not made', async () => {
    const { client, requests } = scene();
    await expect(client.get(CONFIG_MAPS, { name: 'a' })).rejects.toThrow(/namespace of ConfigMap a is absent: it lives in one/);
    expect(requests).toEqual([]);
  });
});

describe('a list', () => {
  const page = (names: readonly string[], rest?: string) => ({
    status: 200,
    body: { metadata: { resourceVersion: '7', continue: rest }, items: names.map((name) => ({ metadata: { ...OBJECT.metadata, name } })) },
  });

  it('is read page by page', async () => {
    const { client, requests } = scene(page(['a', 'b'], 'token 1'), page(['c']));
    const { items, resourceVersion } = await client.list(CONFIG_MAPS, { namespace: 'n', labelSelector: 'x in (a,b)' });
    expect(items.map(({ metadata, kind }) => `${kind} ${metadata.name}`)).toEqual(['ConfigMap a', 'ConfigMap b', 'ConfigMap c']);
    expect(resourceVersion).toBe('7');
    expect(requests.map(({ path }) => path)).toEqual([
      '/api/v1/namespaces/n/configmaps?labelSelector=x+in+%28a%2Cb%29&limit=500',
      '/api/v1/namespaces/n/configmaps?labelSelector=x+in+%28a%2Cb%29&limit=500&continue=token+1',
    ]);
  });

  it('that grows old between two pages is read in one piece', async () => {
    const { client, requests } = scene(page(['a'], 'old'), status(410), page(['a', 'b']));
    expect((await client.list(CONFIG_MAPS)).items.map(({ metadata }) => metadata.name)).toEqual(['a', 'b']);
    expect(requests.at(-1)?.path).toBe('/api/v1/configmaps?');
  });
});
