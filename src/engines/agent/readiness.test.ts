import { createServer, type Server } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../shared/index.ts';
import { EngineClient, type Reply } from './client.ts';
import { HealthWatch, judgeHealth, untilServing } from './readiness.ts';

const reply = (status: number) => ({ ok: true, status, text: '' }) as const;
const KIND = { title: 'vLLM', deadAt503: true };
const silence = { ok: false, why: 'ECONNREFUSED', refused: true } as const;

it.each([
  [reply(200), 0, { state: 'well' }],
  [reply(503), 0, { state: 'dead', why: "vLLM's engine core is dead: /health answers 503" }],
  [reply(500), 1_000, { state: 'silent', why: '/health answers 500' }],
  [silence, 14_999, { state: 'silent', why: 'ECONNREFUSED' }],
  [silence, 15_000, { state: 'dead', why: 'vLLM hangs: /health has not answered well for 15 s (ECONNREFUSED)' }],
])('judges %j after %i ms', (answer, quietMs, health) => expect(judgeHealth(answer, quietMs, KIND)).toEqual(health));

it('takes 503 of an engine that starts for nothing bad', () => {
  expect(judgeHealth(reply(503), 0, { title: 'SGLang', deadAt503: false })).toEqual({ state: 'silent', why: '/health answers 503' });
});

/** Knows whether what it was asked is answered. */
class CountingClient extends EngineClient {
  open = 0;

  override async get(path: string, timeoutMs: number): Promise<Reply> {
    this.open += 1;
    try {
      return await super.get(path, timeoutMs);
    } finally {
      this.open -= 1;
    }
  }
}

describe('with a server', () => {
  let server: Server;
  let client: CountingClient;
  let clock: FakeClock;
  let status: number;
  let asked: number;

  beforeEach(async () => {
    status = 200;
    asked = 0;
    clock = new FakeClock();
    server = createServer((_request, response) => {
      asked += 1;
      response.statusCode = status;
      response.end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    client = new CountingClient(`http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`);
  });

  afterEach(() => {
    client.close();
    server.close();
  });

  /** Moves time on, and stands still until what is asked then is answered: no answer takes any time, however busy the machine is. */
  async function step(ms: number): Promise<void> {
    clock.advance(ms);
    do await new Promise((resolve) => setImmediate(resolve));
    while (client.open > 0);
  }

  async function turn(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 25) await step(25);
  }

  /** Moves time on until the condition holds; the test's own timeout is the bound. */
  async function until(holds: () => boolean): Promise<void> {
    while (!holds()) await step(200);
  }

  it('asks again and again, and tells of a dead engine once', async () => {
    const deaths: string[] = [];
    const watch = new HealthWatch({ client, kind: KIND, clock, onDead: (why) => deaths.push(why) });
    await until(() => asked >= 3);
    expect([watch.well, deaths]).toEqual([true, []]);
    status = 503;
    await until(() => deaths.length > 0);
    const then = asked;
    clock.advance(5_000);
    expect([watch.well, deaths.length, asked]).toEqual([false, 1, then]);
  });

  it('does not call well what has not answered for a while', () => {
    const watch = new HealthWatch({ client, kind: KIND, clock, onDead: () => undefined });
    clock.advance(3_000);
    expect(watch.well).toBe(false);
    watch.stop();
  });

  it('asks seldom while it starts in silence, and at once when it has written something', async () => {
    status = 404;
    let bytes = 0;
    const over = new AbortController();
    const options = { client, kind: KIND, clock, effort: () => 0, onProgress: () => undefined, signal: over.signal, startMs: 1e9 };
    const start = untilServing({ ...options, written: () => bytes });
    // Beyond the moment in which a start counts as having written.
    await until(() => clock.now() > 1_000);
    await turn(500);
    const asksIn = async (ms: number) => {
      const before = asked;
      await turn(ms);
      return asked - before;
    };
    expect(await asksIn(1_000)).toBeLessThanOrEqual(3);
    bytes = 1;
    expect(await asksIn(200)).toBeGreaterThanOrEqual(6);
    status = 200;
    bytes = 2;
    await turn(50);
    expect(await start).toBeNull();
    over.abort();
  });

  it('tells of progress only while the start makes an effort', async () => {
    status = 404;
    let effort = 0;
    let progress = 0;
    const over = new AbortController();
    const onProgress = () => {
      progress += 1;
    };
    const start = untilServing({
      client,
      kind: KIND,
      clock,
      written: () => 0,
      effort: () => effort,
      onProgress,
      signal: over.signal,
      startMs: 1e9,
    });
    await until(() => asked > 40);
    expect(progress).toBe(0);
    effort = 1;
    await until(() => progress > 0);
    status = 200;
    await until(() => status === 200 && asked > 0);
    over.abort();
    expect(await start).toBeNull();
  });
});
