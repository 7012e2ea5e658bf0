/** A router in front of another one: requests for models that it does not have itself. */
import { createServer } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { loadTokenizer } from '../../src/engines/tokenizers/index.ts';
import { parseConfig, type RunningRouter, startRouter } from '../../src/router/index.ts';
import { systemClock } from '../../src/shared/index.ts';
import { createLogger } from '../../src/telemetry/index.ts';
import { type Bed, MODEL, recordAt, startBed, stream, until } from './router-fixture.ts';

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function front(models: readonly { readonly name: string; readonly url: string }[], config: object = {}): Promise<RunningRouter> {
  const log = createLogger({ name: 'front', level: 'silent', format: 'json' });
  let count = 0;
  const made = { newId: () => `front-${count++}`, random: Math.random, loadTokenizer, clock: systemClock, log };
  const options = { model: 'front', config: parseConfig(JSON.stringify({ ...config, models })), ...made };
  const router = await startRouter(options, { host: '127.0.0.1', port: 0, adminHost: '127.0.0.1', adminPort: 0 });
  closing.push(() => router.stop(0));
  return router;
}

async function behind(): Promise<Bed> {
  const bed = await startBed({ prefill: 1, decode: 1, engine: { costs: { stepFixed: 5 } } });
  closing.push(() => bed.close());
  await bed.ready();
  return bed;
}

function post(url: string, body: object, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
  const sent = { 'content-type': 'application/json', ...headers };
  return fetch(`${url}/v1/completions`, { method: 'POST', headers: sent, body: JSON.stringify(body), signal: AbortSignal.timeout(20_000) });
}

async function forwarded(router: RunningRouter): Promise<Record<string, number>> {
  const text = await (await fetch(`${router.url}/metrics`)).text();
  const lines = [...text.matchAll(/^sluice_router_forwarded_total\{.*outcome="(\w+)".*\} (\d+)$/gm)];
  return Object.fromEntries(lines.map(([, outcome = '', value]) => [outcome, Number(value)]));
}

describe('models of other routers', () => {
  it('are listed, and their requests go where the model is: streamed and whole, with the same id', async () => {
    const bed = await behind();
    const router = await front([{ name: MODEL, url: bed.router.url }]);
    const listed = (await (await fetch(`${router.url}/v1/models`)).json()) as { data: readonly { id: string }[] };
    expect(listed.data.map(({ id }) => id)).toEqual(['front', MODEL]);

    const direct = await stream(bed.router.url, '/v1/completions', { prompt: 'a b c', max_tokens: 20, seed: 7, ignore_eos: true });
    const through = await stream(router.url, '/v1/completions', { prompt: 'a b c', max_tokens: 20, seed: 7, ignore_eos: true });
    expect([through.status, through.done, through.broken]).toEqual([200, true, false]);
    expect(through.text).toBe(direct.text);
    expect(through.text.length).toBeGreaterThan(0);
    expect((await recordAt(bed.router.adminUrl, through.requestId)).outcome).toBe('ok');

    const named = await post(router.url, { model: MODEL, prompt: 'x', max_tokens: 4 }, { 'x-request-id': 'mine' });
    expect([named.status, named.headers.get('x-request-id')]).toEqual([200, 'mine']);
    expect((await recordAt(bed.router.adminUrl, 'mine')).outcome).toBe('ok');
    const chat = await stream(router.url, '/v1/chat/completions', { messages: [{ role: 'user', content: 'x' }], max_tokens: 4 });
    expect([chat.status, chat.done]).toEqual([200, true]);
    expect(await forwarded(router)).toMatchObject({ ok: 3, failed: 0 });
    await bed.nothingLeft();
  });

  it('pass refusals on as they are, and refuse a model that nobody has', async () => {
    const bed = await behind();
    const router = await front([{ name: MODEL, url: bed.router.url }]);
    const wrong = await post(router.url, { model: MODEL, prompt: 'x', max_tokens: -1 });
    expect([wrong.status, await wrong.json()]).toMatchObject([400, { error: { param: 'max_tokens' } }]);
    const unknown = await post(router.url, { model: 'nobody', prompt: 'x' });
    expect([unknown.status, await unknown.json()]).toMatchObject([404, { error: { code: 'model_not_found' } }]);
    expect(await forwarded(router)).toMatchObject({ ok: 0, refused: 1 });
  });

  it('are not passed on in circles', async () => {
    const models = [{ name: 'elsewhere', url: 'http://127.0.0.1:1' }];
    const far = await front(models);
    const near = await front([{ name: 'elsewhere', url: far.url }]);
    const answer = await post(near.url, { model: 'elsewhere', prompt: 'x' });
    expect([answer.status, await answer.json()]).toMatchObject([404, { error: { code: 'model_not_found' } }]);
  });

  it('say that the other router is not there, or is too slow', async () => {
    const silent = createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    closing.push(async () => {
      silent.closeAllConnections();
      silent.close();
    });
    const address = silent.address();
    const port = address !== null && typeof address === 'object' ? address.port : 0;
    const models = [
      { name: 'gone', url: 'http://127.0.0.1:1' },
      { name: 'slow', url: `http://127.0.0.1:${port}` },
    ];
    const router = await front(models, { deadlines: { totalMs: 300 } });
    const gone = await post(router.url, { model: 'gone', prompt: 'x' });
    expect([gone.status, gone.headers.get('retry-after'), await gone.json()]).toMatchObject([503, '1', { error: { code: 'unavailable' } }]);
    const slow = await post(router.url, { model: 'slow', prompt: 'x' });
    expect([slow.status, await slow.json()]).toMatchObject([504, { error: { code: 'deadline_exceeded' } }]);
    expect(await forwarded(router)).toMatchObject({ failed: 2 });
  });

  it('break off for the client where the other router breaks off, and end there when the client goes', async () => {
    const bed = await behind();
    const router = await front([{ name: MODEL, url: bed.router.url }]);
    const cut = stream(router.url, '/v1/completions', { prompt: 'x', max_tokens: 3_000, ignore_eos: true }, (count) => {
      if (count === 3) void bed.stop(0);
    });
    expect(await cut).toMatchObject({ status: 200, done: false });

    const other = await behind();
    const second = await front([{ name: MODEL, url: other.router.url }]);
    const leave = new AbortController();
    const body = JSON.stringify({ model: MODEL, prompt: 'x', max_tokens: 3_000, ignore_eos: true, stream: true });
    const answer = await fetch(`${second.url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-request-id': 'left' },
      body,
      signal: leave.signal,
    });
    await answer.body?.getReader().read();
    leave.abort();
    expect((await recordAt(other.router.adminUrl, 'left')).outcome).toBe('cancelled');
    await until(async () => (await forwarded(second))['cancelled'] === 1);
    await other.nothingLeft();
  });

  it('are waited for when the router ends', async () => {
    const bed = await behind();
    const router = await front([{ name: MODEL, url: bed.router.url }]);
    const stops: Promise<void>[] = [];
    const whole = await stream(router.url, '/v1/completions', { prompt: 'x', max_tokens: 200, ignore_eos: true }, (count) => {
      if (count === 3) stops.push(router.stop(15_000));
    });
    expect([whole.done, whole.broken]).toEqual([true, false]);
    expect(stops).toHaveLength(1);
    await Promise.all(stops);
  });
});
