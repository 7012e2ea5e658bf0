/** Bounded places and a bounded queue: who waits, who is refused, and that everybody ends. */
import OpenAI, { RateLimitError } from 'openai';
import { afterEach, describe, expect, it } from 'vitest';
import { type Bed, type Gate, MODEL, startBed, until } from './router-fixture.ts';

let bed: Bed;

afterEach(async () => {
  await bed.nothingLeft();
  await bed.close();
});

/** Requests hang at the engine until `open` is called; then all pass. The places are taken in the meantime. */
function hold(gate: Gate): void {
  gate.fault = (seen) => (seen.head.includes('hold me') ? { kind: 'hang' } : { kind: 'pass' });
}

async function leftovers(): Promise<{ inFlight: number; queued: number }> {
  return (await bed.admin('GET', '/admin/leftovers')) as { inFlight: number; queued: number };
}

/** Takes a place until the returned function is called. */
function takePlace(): () => void {
  const cancel = new AbortController();
  const body = JSON.stringify({ model: MODEL, prompt: 'hold me', max_tokens: 1 });
  const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body, signal: cancel.signal };
  fetch(`${bed.router.url}/v1/completions`, init).then(
    () => undefined,
    () => undefined,
  );
  return () => cancel.abort();
}

async function start(limits: object): Promise<Gate> {
  bed = await startBed({ mixed: 1, config: { limits: { inFlight: 2, queue: 2, queueTimeoutMs: 10_000, ...limits } } });
  await bed.ready();
  const gate = bed.engine('mixed-0').gate;
  hold(gate);
  return gate;
}

const ASK = { model: MODEL, prompt: 'me too', max_tokens: 1 };

describe('admission', () => {
  it('refuses with 429 and Retry-After when places and queue are full', async () => {
    await start({ queue: 0 });
    const free = [takePlace(), takePlace()];
    await until(async () => (await leftovers()).inFlight === 2);
    const answer = await bed.post('/v1/completions', ASK);
    expect(answer.status).toBe(429);
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect(await answer.json()).toMatchObject({ error: { type: 'rate_limit_error', code: 'queue_full', param: null } });
    const client = new OpenAI({ baseURL: `${bed.router.url}/v1`, apiKey: 'none', maxRetries: 0 });
    await expect(client.completions.create(ASK)).rejects.toThrow(RateLimitError);
    for (const leave of free) leave();
    await until(async () => (await leftovers()).inFlight === 0);
    expect((await bed.post('/v1/completions', ASK)).status).toBe(200);
  });

  it('lets the waiting in as places become free', async () => {
    await start({});
    const free = [takePlace(), takePlace()];
    await until(async () => (await leftovers()).inFlight === 2);
    const waiting = [bed.post('/v1/completions', ASK), bed.post('/v1/completions', ASK)];
    await until(async () => (await leftovers()).queued === 2);
    expect((await bed.post('/v1/completions', ASK)).status).toBe(429);
    free[0]?.();
    expect((await Promise.all(waiting)).map((answer) => answer.status)).toEqual([200, 200]);
    free[1]?.();
  });

  it('gives up on the queue in time', async () => {
    await start({ queueTimeoutMs: 60 });
    const free = [takePlace(), takePlace()];
    await until(async () => (await leftovers()).inFlight === 2);
    const answer = await bed.post('/v1/completions', ASK);
    expect(answer.status).toBe(503);
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect(await answer.json()).toMatchObject({ error: { code: 'unavailable' } });
    for (const leave of free) leave();
  });

  it('forgets a client that goes away while it waits', async () => {
    await start({});
    const free = [takePlace(), takePlace()];
    await until(async () => (await leftovers()).inFlight === 2);
    const leave = takePlace();
    await until(async () => (await leftovers()).queued === 1);
    leave();
    await until(async () => (await leftovers()).queued === 0);
    for (const each of free) each();
  });

  it('takes turns between tenants', async () => {
    bed = await startBed({ mixed: 1, config: { limits: { inFlight: 1, queue: 10 }, saltHeader: 'x-tenant-id' } });
    await bed.ready();
    hold(bed.engine('mixed-0').gate);
    const leave = takePlace();
    await until(async () => (await leftovers()).inFlight === 1);
    const order: string[] = [];
    const ask = async (tenant: string, queued: number) => {
      const asked = bed.post('/v1/completions', ASK, { 'x-tenant-id': tenant }).then(async (answer) => {
        await answer.text();
        order.push(tenant);
      });
      await until(async () => (await leftovers()).queued === queued);
      return { asked };
    };
    const all = [await ask('many', 1), await ask('many', 2), await ask('many', 3), await ask('few', 4)];
    leave();
    await Promise.all(all.map(({ asked }) => asked));
    expect(order).toEqual(['many', 'few', 'many', 'many']);
  });
});
