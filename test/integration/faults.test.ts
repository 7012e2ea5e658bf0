/**
 * kill -9 of real engines at the worst moments. Whatever happens, a request ends in the tokens of one undisturbed engine or in a clear
 * error, and nothing stays behind: no reservation, no open leg, no lease.
 */
import { createServer, request as httpRequest, type Server } from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { HandOffTicket } from '../../src/engines/index.ts';
import { type Engine, Fleet, MODEL, Relay, until } from './fleet.ts';

const fleet = new Fleet({ roles: ['prefill', 'decode', 'decode', 'mixed'], engineArgs: ['--lease-ms', '3000'] });
let alone: Engine;

beforeAll(async () => {
  await fleet.start();
  alone = await fleet.setAside();
});
afterAll(() => fleet.stop());

afterEach(async () => {
  await until('nothing is held any more', async () => {
    const { reservations, openLegs, inFlight, queued } = await fleet.leftovers();
    return reservations + openLegs + inFlight + queued === 0;
  });
  for (const engine of fleet.engines) {
    if (engine.process.signalCode !== null) await fleet.replace(engine);
    else await until(`${engine.id} has no lease left`, async () => (await fleet.load(engine)).leases === 0);
  }
});

let count = 0;
/** About so many tokens. */
const prompt = (tokens: number) => `Case ${count++}. ${'The water stands at the gate and waits. '.repeat(Math.ceil(tokens / 26))}`;

interface Said {
  readonly text: string;
  readonly events: number;
  readonly done: boolean;
  readonly error: string | null;
  readonly status: number;
}

/** Streams a completion; `onEvent` is called with the number of events with text so far. */
async function ask(url: string, body: object, options: { id?: string; onEvent?: (events: number) => void } = {}): Promise<Said> {
  const response = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(options.id ? { 'x-request-id': options.id } : {}) },
    body: JSON.stringify({ model: MODEL, stream: true, ignore_eos: true, ...body }),
  });
  let text = '';
  let events = 0;
  let pending = '';
  let done = false;
  let error: string | null = response.ok ? null : await response.text();
  try {
    for await (const chunk of response.ok ? (response.body ?? []) : []) {
      const parts = (pending + Buffer.from(chunk).toString('utf8')).split('\n\n');
      pending = parts.pop() ?? '';
      for (const part of parts) {
        const data = part.replace(/^data: /, '');
        if (data === '[DONE]') done = true;
        else {
          const event: { error?: { message: string }; choices?: { text: string }[] } = JSON.parse(data);
          if (event.error) error = event.error.message;
          text += event.choices?.[0]?.text ?? '';
          options.onEvent?.(++events);
        }
      }
    }
  } catch (broken) {
    error ??= String(broken);
  }
  return { text, events, done, error, status: response.status };
}

const GREEDY = { temperature: 0, max_tokens: 120 };
const SEEDED = { temperature: 0.8, seed: 11, max_tokens: 120 };

describe.each([
  ['greedy', GREEDY],
  ['seeded', SEEDED],
])('a decode instance killed in the middle of a stream: %s', (name, sampling) => {
  it('the stream goes on elsewhere with the same tokens', async () => {
    // Long enough to be in its middle still when it is known who has it.
    const body = { ...sampling, max_tokens: 800, prompt: prompt(200) };
    const id = `mid-${name}`;
    const expected = await ask(alone.url, body);
    let killed: Promise<void> | null = null;
    const said = await ask(fleet.routerUrl, body, {
      id,
      onEvent: (events) => {
        if (events >= 25) killed ??= fleet.busiest().then((engine) => fleet.kill(engine));
      },
    });
    await (killed as Promise<void> | null);
    expect(said).toMatchObject({ text: expected.text, done: true, error: null });
    const record = await fleet.record(id);
    expect(record).toMatchObject({ outcome: 'ok', resumes: 1, outputTokens: 800 });
    expect(record.attempts[1]?.resumedTokens).toBeGreaterThanOrEqual(25);
  });
});

/**
 * A stream on each decode instance, past the router: prefilling there would hold it up, so the router prefers the prefill instance.
 * Returns how to end them.
 */
async function occupyDecode(): Promise<() => void> {
  const stops = fleet.of('decode').map((engine) => {
    const stop = new AbortController();
    const body = JSON.stringify({ model: MODEL, prompt: 'busy', max_tokens: 6000, ignore_eos: true, stream: true });
    // Its end is our doing.
    fetch(`${engine.url}/v1/completions`, { method: 'POST', body, signal: stop.signal })
      .then((answer) => answer.text())
      .catch(() => '');
    return stop;
  });
  await until('the decode instances are busy', async () => {
    const loads = await Promise.all(fleet.of('decode').map((engine) => fleet.load(engine)));
    return loads.every((load) => load.running > 0);
  });
  return () => {
    for (const stop of stops) stop.abort();
  };
}

it('both decode instances killed in the middle of a stream: a clear error, and it ends', async () => {
  let asked = false;
  const said = await ask(
    fleet.routerUrl,
    { ...GREEDY, max_tokens: 1000, prompt: prompt(40) },
    {
      onEvent: (events) => {
        if (events < 10 || asked) return;
        asked = true;
        for (const engine of fleet.of('decode')) void fleet.kill(engine);
      },
    },
  );
  expect(said.done).toBe(false);
  expect(said.events).toBeGreaterThan(0);
  expect(said.error).toContain('could not be resumed');
});

it('decode killed before the first token: another one takes it', async () => {
  const body = { ...GREEDY, prompt: prompt(2400) };
  const expected = await ask(alone.url, body);
  const asked = ask(fleet.routerUrl, body, { id: 'before-first' });
  await until('the request is on a decode instance', async () =>
    (await fleet.instances()).some((one) => one.id.startsWith('decode') && one.inFlight > 0),
  );
  await fleet.kill(await fleet.busiest());
  expect(await asked).toMatchObject({ text: expected.text, done: true, error: null });
  expect((await fleet.record('before-first')).attempts.length).toBeGreaterThanOrEqual(1);
});

it('prefill killed while it computes: the decode instances do it alone', async () => {
  const body = { ...GREEDY, prompt: prompt(6000) };
  const expected = await ask(alone.url, body);
  const free = await occupyDecode();
  const asked = ask(fleet.routerUrl, body, { id: 'in-prefill' });
  const [prefill] = fleet.of('prefill') as [Engine];
  await until('the prefill instance computes', async () => (await fleet.load(prefill)).pendingPrefillTokens > 200);
  await fleet.kill(prefill);
  free();
  expect(await asked).toMatchObject({ text: expected.text, done: true, error: null });
  const { attempts } = await fleet.record('in-prefill');
  expect(attempts).toHaveLength(2);
  expect(attempts[0]?.error).toContain('prefill failed');
  expect(attempts[1]?.decision.chosen.prefill).toBeNull();
});

it.each([0, 20, 100_000, 1_000_000])('prefill killed during the hand-off, after %i bytes: the rest is recomputed', async (cutAfter) => {
  const body = { ...GREEDY, prompt: prompt(1600) };
  const expected = await ask(alone.url, body);
  const [prefill] = fleet.of('prefill') as [Engine];
  const relay = new Relay(prefill.transfer, { cutAfter, onCut: () => prefill.process.kill('SIGKILL') });
  const port = await relay.listen();
  const id = `cut-${cutAfter}`;
  const edge = await redirectTickets(prefill, id, port);
  await fleet.relay(prefill.id, edge.url);
  const free = await occupyDecode();
  const said = await ask(fleet.routerUrl, body, { id });
  free();
  expect(said).toMatchObject({ text: expected.text, done: true, error: null });
  const handOff = (await fleet.record(id)).attempts.at(-1)?.decode?.report?.handOff;
  expect(handOff?.failed).toBeTruthy();
  expect(handOff?.bytes).toBeLessThanOrEqual(cutAfter);
  relay.close();
  edge.server.close();
  edge.server.closeAllConnections();
  await until('the prefill instance is gone', async () => prefill.process.signalCode !== null);
});

it('prefill killed after the hand-off: the stream does not notice', async () => {
  const body = { ...GREEDY, prompt: prompt(800) };
  const expected = await ask(alone.url, body);
  const [prefill] = fleet.of('prefill') as [Engine];
  const said = await ask(fleet.routerUrl, body, {
    id: 'after',
    onEvent: (events) => {
      if (events === 2) prefill.process.kill('SIGKILL');
    },
  });
  expect(said).toMatchObject({ text: expected.text, done: true, error: null });
  expect(await fleet.record('after')).toMatchObject({ resumes: 0 });
  await until('the prefill instance is gone', async () => prefill.process.signalCode !== null);
});

it('prefill dead before the request: decode does it alone, at once', async () => {
  const [prefill] = fleet.of('prefill') as [Engine];
  await fleet.kill(prefill);
  const body = { ...GREEDY, prompt: prompt(100) };
  const said = await ask(fleet.routerUrl, body, { id: 'dead' });
  expect(said).toMatchObject({ text: (await ask(alone.url, body)).text, done: true });
  expect((await fleet.record('dead')).attempts.at(-1)?.decision.chosen.prefill).toBeNull();
});

it('a client that goes away frees both instances', async () => {
  const body = { model: MODEL, stream: true, ...GREEDY, max_tokens: 2000, ignore_eos: true, prompt: prompt(400) };
  const response = await fetch(`${fleet.routerUrl}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-request-id': 'gone' },
    body: JSON.stringify(body),
  });
  // Leaving the loop closes the connection.
  for await (const chunk of response.body ?? []) if (Buffer.from(chunk).length > 0) break;
  await until('the engines are idle', async () =>
    (await Promise.all(fleet.engines.map((engine) => fleet.load(engine)))).every((load) => load.running + load.waiting === 0),
  );
  expect(await fleet.record('gone')).toMatchObject({ outcome: 'cancelled' });
});

/** An HTTP relay in front of a prefill instance that points the ticket of one request to another transfer port: probes shall not take the fault. */
async function redirectTickets(prefill: Engine, id: string, port: number): Promise<{ server: Server; url: string }> {
  const server = createServer((incoming, outgoing) => {
    const target = httpRequest(
      `${prefill.url}${incoming.url ?? ''}`,
      { method: incoming.method ?? 'GET', headers: incoming.headers },
      (answer) => {
        if (incoming.headers['x-sluice-leg'] !== 'prefill' || incoming.headers['x-request-id'] !== id) {
          outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
          answer.pipe(outgoing);
          return;
        }
        const pieces: Buffer[] = [];
        answer.on('data', (piece: Buffer) => pieces.push(piece));
        answer.on('end', () => {
          const body: { ticket: HandOffTicket } = JSON.parse(Buffer.concat(pieces).toString('utf8'));
          const changed = Buffer.from(JSON.stringify({ ...body, ticket: { ...body.ticket, port } }));
          outgoing.writeHead(200, { 'content-type': 'application/json', 'content-length': changed.length });
          outgoing.end(changed);
        });
      },
    );
    target.on('error', () => outgoing.destroy());
    incoming.pipe(target);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return { server, url: `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}` };
}
