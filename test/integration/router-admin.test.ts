/** The admin listener, readiness, metrics, draining and the end of a router. */
import { Agent, request } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { explainRecord, type RequestRecord } from '../../src/router/index.ts';
import { type Bed, connected, type Json, LONG_PROMPT, MODEL, startBed, startEngine, stream, until } from './router-fixture.ts';

let bed: Bed;

beforeEach(async () => {
  bed = await startBed({ prefill: 1, decode: 2 });
});

afterEach(async () => {
  await bed.nothingLeft();
  await bed.close();
});

async function ask(change: object = {}): Promise<string> {
  const answer = await bed.post('/v1/completions', { model: MODEL, prompt: LONG_PROMPT, max_tokens: 3, temperature: 0, ...change });
  expect(answer.status).toBe(200);
  await answer.text();
  return answer.headers.get('x-request-id') ?? '';
}

function decodeRequests(): number {
  return bed.engines.filter(({ role }) => role === 'decode').reduce((sum, { gate }) => sum + gate.seen.length, 0);
}

describe('records', () => {
  it('add up, name every candidate, and keep what then happened', async () => {
    await bed.ready();
    await bed.settled();
    const id = await ask();
    const record = (await bed.admin('GET', `/admin/requests/${id}`)) as Json & RequestRecord;
    expect(record).toMatchObject({ id, kind: 'completion', model: MODEL, stream: false, outcome: 'ok', status: 200, outputTokens: 3 });
    expect(record.finishReason).toBe('length');
    const [attempt] = record.attempts;
    expect(attempt?.decision.candidates.length).toBeGreaterThanOrEqual(3);
    for (const { terms, totalMs } of attempt?.decision.candidates ?? []) {
      expect(Object.values(terms).reduce((sum, term) => sum + term, 0)).toBeCloseTo(totalMs, 9);
    }
    expect(attempt?.prefill?.report.promptTokens).toBe(record.promptTokens);
    expect(attempt?.decode?.report?.handOff?.blocks).toBeGreaterThan(10);
    expect(explainRecord(record)).toContain(`request  ${id}`);
  });

  it('are there for streams, refusals and cancelled requests; probes are not listed', async () => {
    await bed.ready();
    const { requestId } = await stream(bed.router.url, '/v1/completions', { prompt: 'a', max_tokens: 4, temperature: 0 });
    const refused = await bed.post('/v1/completions', { model: MODEL, prompt: 'a', max_tokens: -1 });
    const { requests } = (await bed.admin('GET', '/admin/requests?limit=5')) as { requests: readonly RequestRecord[] };
    expect(requests.map(({ id, outcome }) => [id, outcome])).toEqual([
      [refused.headers.get('x-request-id'), 'refused'],
      [requestId, 'ok'],
    ]);
    expect(requests[1]).toMatchObject({ stream: true, outputTokens: 4, finishReason: 'length' });
    expect(requests[1]?.ttftMs).toBeGreaterThan(0);
    expect(requests[1]?.tpotMs).toBeGreaterThan(0);
  });

  it('that are not there are a 404 that says so', async () => {
    expect(await bed.admin('GET', '/admin/requests/never')).toMatchObject({ error: { code: 'not_found' } });
  });
});

describe('how many are asked for', () => {
  it.each(['many', '0', '-1', '1.5', '', '1&limit=2'])('is refused when it is %j', async (limit) => {
    for (const [path, most] of [
      ['/admin/requests', 1000],
      ['/admin/kv/blocks/any', 4096],
    ] as const) {
      const answer = await fetch(`${bed.router.adminUrl}${path}?limit=${limit}`);
      expect(answer.status).toBe(400);
      const message = expect.stringContaining(`limit must be a whole number from 1 to ${most}; got `);
      expect(await answer.json()).toMatchObject({ error: { code: 'invalid_request', param: 'limit', message } });
    }
  });

  it('is taken up to the most there may be', async () => {
    expect(await bed.admin('GET', '/admin/requests?limit=1000')).toEqual({ requests: [] });
    expect(await bed.admin('GET', '/admin/requests?limit=1001')).toMatchObject({ error: { param: 'limit' } });
    expect(await bed.admin('GET', '/admin/kv/blocks/nobody?limit=4096')).toMatchObject({ error: { code: 'not_found' } });
    expect(await bed.admin('GET', '/admin/kv/blocks/nobody?limit=4097')).toMatchObject({ error: { param: 'limit' } });
  });
});

describe('the list of instances', () => {
  it('is refused with the field when it is malformed, and changes nothing', async () => {
    const answer = await bed.admin('PUT', '/admin/instances', { generation: 9, model: MODEL, instances: [{ id: 'x' }] });
    expect(answer).toMatchObject({ error: { code: 'invalid_request', param: expect.stringMatching(/^instances\[0\]/) } });
    expect(((await bed.admin('GET', '/admin/instances')) as { instances: unknown[] }).instances).toHaveLength(3);
  });

  it('says of each whether it is connected and how many requests it has', async () => {
    const { generation, instances } = (await bed.admin('GET', '/admin/instances')) as { generation: number; instances: readonly Json[] };
    expect(generation).toBeGreaterThan(0);
    expect(instances).toContainEqual(expect.objectContaining({ id: 'decode-1', connected: true, draining: false }));
  });

  it('says of each whether a request went well through it, and has probes go there first', async () => {
    await bed.ready();
    const proven = async (id: string) => {
      const { instances } = (await bed.admin('GET', '/admin/instances')) as { instances: readonly Json[] };
      return instances.find((one) => one['id'] === id)?.['proven'];
    };
    // So slow that nothing would go there for its price.
    const broken = await startEngine('prefill-new', 'prefill', { costs: { prefillFixed: 300 } });
    broken.gate.fault = () => ({ kind: 'drop' });
    bed.engines.push(broken);
    await bed.publish();
    await until(async () => broken.gate.seen.length > 1);
    expect(await proven('prefill-new')).toBe(false);
    broken.gate.fault = () => ({ kind: 'pass' });
    await until(async () => (await proven('prefill-new')) === true);
    for (const { id } of bed.engines)
      await until(
        async () => (await proven(id)) === true,
        () => id,
      );
  });

  it('takes draining instances out of routing and lets their streams end', async () => {
    await bed.ready();
    let drainedAt = 0;
    const drained: { id?: string } = {};
    const running = stream(bed.router.url, '/v1/completions', { prompt: LONG_PROMPT, max_tokens: 60, temperature: 0 }, (events) => {
      if (events < 3 || drainedAt > 0) return;
      drainedAt = events;
      const busy = bed.engines.find(({ role, core }) => role === 'decode' && core.load().running > 0);
      if (busy) drained.id = busy.id;
      void bed.publish([busy?.id ?? '']);
    });
    await until(() => drained.id !== undefined);
    await until(async () => {
      const { instances } = (await bed.admin('GET', '/admin/instances')) as { instances: readonly { id: string; draining: boolean }[] };
      return instances.some(({ id, draining }) => id === drained.id && draining);
    });
    const gate = bed.engine(drained.id ?? '').gate;
    const before = gate.seen.length;
    const asked: string[] = [];
    for (let count = 0; count < 6; count += 1) asked.push(await ask({ prompt: `${count} ${LONG_PROMPT}` }));
    expect(gate.seen.length).toBe(before);
    expect(await running).toMatchObject({ done: true, broken: false });
    const { requests } = (await bed.admin('GET', '/admin/requests?limit=50')) as { requests: readonly RequestRecord[] };
    expect(requests.every(({ resumes }) => resumes === 0)).toBe(true);
    const decisions = requests.filter(({ id }) => asked.includes(id)).map(({ attempts }) => attempts[0]?.decision);
    expect(decisions.map((decision) => decision?.aside)).toEqual(asked.map(() => [{ instance: drained.id, why: 'it drains' }]));
  });

  it('forgets what is not in it and meets what is new, also under an old name', async () => {
    await bed.ready();
    const old = bed.engine('decode-1');
    const rest = bed.engines.filter((engine) => engine !== old);
    await bed.publish([], rest);
    expect(((await bed.admin('GET', '/admin/instances')) as { instances: unknown[] }).instances).toHaveLength(2);
    const next = await startEngine('decode-1', 'decode');
    bed.engines.push(next);
    await bed.publish([], [...rest, next]);
    await connected(bed, 3);
    for (let count = 0; count < 8; count += 1) await ask({ prompt: `${count} ${LONG_PROMPT}` });
    expect(next.gate.seen.length).toBeGreaterThan(0);
  });

  it('does not pair instances whose KV is not interchangeable', async () => {
    await bed.ready();
    const other = await startEngine('decode-odd', 'decode', { blockTokens: 32 });
    bed.engines.push(other);
    await bed.publish();
    await connected(bed, 4);
    for (let count = 0; count < 8; count += 1) await ask({ prompt: `${count} odd ${LONG_PROMPT}` });
    const { requests } = (await bed.admin('GET', '/admin/requests?limit=50')) as { requests: readonly RequestRecord[] };
    const pairs = requests.flatMap(({ attempts }) => attempts.flatMap(({ decision }) => decision.candidates));
    expect(pairs.some(({ prefill, decode }) => prefill !== null && decode === 'decode-odd')).toBe(false);
  });
});

describe('readiness', () => {
  it('comes with a request that went the whole way, not before', async () => {
    await bed.ready();
    expect(bed.engine('prefill-0').gate.seen.some(({ leg }) => leg === 'prefill')).toBe(true);
    expect(decodeRequests()).toBeGreaterThan(0);
  });

  it('is refused with the reason while there is no instance, and healthz is well', async () => {
    await bed.publish([], []);
    await until(async () => (await fetch(`${bed.router.url}/readyz`)).status === 503);
    const body = (await (await fetch(`${bed.router.url}/readyz`)).json()) as Json;
    expect(body).toMatchObject({ error: { code: 'unavailable', message: expect.stringContaining('no instance') } });
    expect((await fetch(`${bed.router.url}/healthz`)).status).toBe(200);
  });
});

describe('numbers', () => {
  it('are counted for users, not for probes', async () => {
    await bed.ready();
    await ask();
    await stream(bed.router.url, '/v1/completions', { prompt: 'a', max_tokens: 4, temperature: 0 });
    await (await bed.post('/v1/completions', { model: MODEL, prompt: 'a', max_tokens: -1 })).text();
    const text = await (await fetch(`${bed.router.url}/metrics`)).text();
    const value = (pattern: RegExp) => Number(pattern.exec(text)?.[1] ?? Number.NaN);
    expect(value(/^sluice_router_requests_total\{.*outcome="ok".*\} (\d+)$/m)).toBe(2);
    expect(value(/^sluice_router_requests_total\{.*outcome="refused".*\} (\d+)$/m)).toBe(1);
    expect(value(/^sluice_router_time_to_first_token_seconds_count\{.*\} (\d+)$/m)).toBe(1);
    expect(value(/^sluice_router_in_flight\{.*\} (\d+)$/m)).toBeLessThanOrEqual(1);
  });

  it('fill the table of instances', async () => {
    await bed.ready();
    await ask();
    await ask();
    const top = (await bed.admin('GET', '/admin/top')) as { ready: boolean; model: string; instances: readonly Json[] };
    expect(top).toMatchObject({ ready: true, model: MODEL });
    expect(top.instances).toHaveLength(3);
    expect(top.instances).toContainEqual(expect.objectContaining({ id: 'prefill-0', role: 'prefill', state: 'ready', simulated: true }));
    expect(top.instances.some((row) => typeof row['hitRate'] === 'number')).toBe(true);
  });
});

describe('the end', () => {
  it('takes no new requests, finishes those under way, then closes', async () => {
    await bed.ready();
    let stopping = false;
    const running = stream(
      bed.router.url,
      '/v1/completions',
      { prompt: 'to the end', max_tokens: 80, temperature: 0, ignore_eos: true },
      (events) => {
        if (events !== 3) return;
        stopping = true;
        void bed.stop(10_000);
      },
    );
    await until(() => stopping);
    const refused = await fetch(`${bed.router.url}/readyz`).then(
      (answer) => answer.status,
      () => 'closed',
    );
    expect([503, 'closed']).toContain(refused);
    expect(await running).toMatchObject({ done: true, broken: false });
    await bed.stop(0);
    await expect(fetch(`${bed.router.url}/healthz`)).rejects.toThrow();
    await until(() => bed.engines.every(({ core }) => core.load().running === 0));
  });

  it('serves what comes once more over a connection that a client holds, and tells it to come back on another', async () => {
    await bed.ready();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const payload = JSON.stringify({ model: MODEL, prompt: 'held', max_tokens: 2, temperature: 0 });
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) };
    const post = () =>
      new Promise<{ status: number | undefined; connection: string | undefined; reused: boolean }>((resolve, reject) => {
        const outgoing = request(`${bed.router.url}/v1/completions`, { method: 'POST', agent, headers }, (response) => {
          const { statusCode: status, headers: answered } = response;
          response.resume().on('end', () => resolve({ status, connection: answered.connection, reused: outgoing.reusedSocket }));
        });
        outgoing.on('error', reject);
        outgoing.end(payload);
      });
    expect(await post()).toEqual({ status: 200, connection: 'keep-alive', reused: false });
    const ended = bed.stop(10_000);
    expect(await post()).toEqual({ status: 200, connection: 'close', reused: true });
    await expect(post()).rejects.toThrow('ECONNREFUSED');
    await ended;
    agent.destroy();
  });

  it('ends what takes too long with an error', async () => {
    await bed.ready();
    const running = await stream(
      bed.router.url,
      '/v1/completions',
      { prompt: 'too long', max_tokens: 4000, ignore_eos: true },
      (events) => {
        if (events === 3) void bed.stop(50);
      },
    );
    expect(running).toMatchObject({ done: false, broken: true });
    await bed.stop(0);
    await until(() => bed.engines.every(({ core }) => core.load().running === 0));
  });
});
