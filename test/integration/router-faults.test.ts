/** Engines that die, hang, lie and break off in the middle: every accepted request ends, and a stream goes on with the same text. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  type Bed,
  type EngineHandle,
  type Fault,
  type Json,
  LONG_PROMPT,
  MODEL,
  startBed,
  startEngine,
  stream,
  until,
} from './router-fixture.ts';

const DEADLINES = { prefillMs: 400, pullMs: 300, firstTokenMs: 500, idleMs: 400, totalMs: 8000 };
const PASS: Fault = { kind: 'pass' };

let bed: Bed;
let single: EngineHandle;
let count = 0;

beforeAll(async () => {
  single = await startEngine('single', 'mixed');
});

afterAll(async () => {
  await single.close();
});

beforeEach(async () => {
  // A lease whose ticket was lost with its answer ends by itself.
  bed = await startBed({ prefill: 2, decode: 3, config: { deadlines: DEADLINES }, engine: { leaseMs: 2000 } });
});

afterEach(async () => {
  for (const { gate } of bed.engines) gate.fault = () => PASS;
  await bed.nothingLeft();
  await bed.close();
});

/** A prompt that no engine has seen, so that it goes through the prefill pool. */
function freshPrompt(): string {
  count += 1;
  return `Number ${count}. ${LONG_PROMPT}`;
}

function gates(role: string) {
  return bed.engines.filter((engine) => engine.role === role).map((engine) => engine.gate);
}

/** The instance that gets the first request of a kind has the fault from then on; the others are well. */
function faultOne(role: string, fault: Fault, leg: 'prefill' | 'whole'): void {
  const all = gates(role);
  let faulty: (typeof all)[number] | null = null;
  for (const gate of all) {
    gate.fault = (seen) => {
      if (seen.leg !== leg || seen.head.includes('sluice opens')) return PASS;
      faulty ??= gate;
      return faulty === gate ? fault : PASS;
    };
  }
}

function always(role: string, fault: Fault): void {
  for (const gate of gates(role)) gate.fault = (seen) => (seen.head.includes('sluice opens') ? PASS : fault);
}

async function recordOf(id: string | null): Promise<Json & { attempts: readonly { error: string | null; resumedTokens: number }[] }> {
  await until(async () => ((await bed.admin('GET', `/admin/requests/${id}`))['outcome'] ?? null) !== null);
  return (await bed.admin('GET', `/admin/requests/${id}`)) as Json & { attempts: { error: string | null; resumedTokens: number }[] };
}

const ANSWER_500 = 'HTTP/1.1 500 Oops\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n{}';
const ANSWER_503 = 'HTTP/1.1 503 Busy\r\ncontent-length: 2\r\ncontent-type: application/json\r\nretry-after: 7\r\n\r\n{}';

describe.each(['/v1/completions', '/v1/chat/completions'])('before the first byte, %s', (path) => {
  const requestOf = (prompt: string) => (path === '/v1/completions' ? { prompt } : { messages: [{ role: 'user', content: prompt }] });

  it.each<[string, string, 'prefill' | 'whole', Fault]>([
    ['a prefill instance that drops the connection', 'prefill', 'prefill', { kind: 'drop' }],
    ['a prefill instance that hangs', 'prefill', 'prefill', { kind: 'hang' }],
    ['a prefill instance that answers 500', 'prefill', 'prefill', { kind: 'answer', text: ANSWER_500 }],
    ['a prefill instance that answers 503', 'prefill', 'prefill', { kind: 'answer', text: ANSWER_503 }],
    [
      'a prefill instance that answers nonsense',
      'prefill',
      'prefill',
      { kind: 'answer', text: 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}' },
    ],
    ['a prefill instance whose answer breaks off', 'prefill', 'prefill', { kind: 'cut', bytes: 200 }],
    ['a decode instance that drops the connection', 'decode', 'whole', { kind: 'drop' }],
    ['a decode instance that hangs', 'decode', 'whole', { kind: 'hang' }],
    ['a decode instance that answers 500', 'decode', 'whole', { kind: 'answer', text: ANSWER_500 }],
    ['a decode instance that answers 503', 'decode', 'whole', { kind: 'answer', text: ANSWER_503 }],
    ['a decode instance that speaks no HTTP', 'decode', 'whole', { kind: 'answer', text: 'hello\r\n\r\n' }],
    ['a decode instance whose head breaks off', 'decode', 'whole', { kind: 'cut', bytes: 20 }],
  ])('goes round %s', async (_what, role, leg, fault) => {
    const body = { ...requestOf(freshPrompt()), max_tokens: 12, temperature: 0 };
    const alone = await stream(single.directUrl, path, body);
    faultOne(role, fault, leg);
    const pooled = await stream(bed.router.url, path, body);
    expect(pooled).toMatchObject({ status: 200, text: alone.text, done: true, broken: false });
    const record = await recordOf(pooled.requestId);
    expect(record.attempts).toHaveLength(2);
    expect(record.attempts[0]?.error).not.toBeNull();
    expect(record).toMatchObject({ outcome: 'ok', resumes: 0 });
  });

  it('asks again for a whole answer that broke off', async () => {
    const body = { ...requestOf(freshPrompt()), max_tokens: 12, temperature: 0, model: MODEL };
    faultOne('decode', { kind: 'cut', bytes: 500 }, 'whole');
    const answer = await bed.post(path, body);
    expect(answer.status).toBe(200);
    const json = (await answer.json()) as { usage: Json };
    expect(json.usage['completion_tokens']).toBe(12);
  });
});

describe('in the middle of a stream', () => {
  it.each<[string, (bytes: number) => Fault]>([
    ['breaks', (bytes) => ({ kind: 'cut', bytes })],
    ['falls silent', (bytes) => ({ kind: 'cut', bytes, silent: true })],
  ])('goes on with the same text when its instance %s', async (_what, faultAt) => {
    for (const [path, bytes] of [
      ['/v1/completions', 1200],
      ['/v1/chat/completions', 1500],
      ['/v1/completions', 2600],
    ] as const) {
      const prompt = freshPrompt();
      const asked = path === '/v1/completions' ? { prompt } : { messages: [{ role: 'user', content: prompt }] };
      const body = { ...asked, max_tokens: 30, temperature: 0.8, seed: 11, stream_options: { include_usage: true } };
      const alone = await stream(single.directUrl, path, body);
      faultOne('decode', faultAt(bytes), 'whole');
      const pooled = await stream(bed.router.url, path, body);
      expect(pooled).toMatchObject({ status: 200, text: alone.text, done: true, broken: false });
      expect(pooled.events.at(-1)?.['usage']).toMatchObject({ completion_tokens: 30 });
      expect(new Set(pooled.events.map((event) => `${String(event['id'])}${String(event['created'])}`)).size).toBe(1);
      const record = await recordOf(pooled.requestId);
      expect(record['resumes']).toBe(1);
      expect(record.attempts[1]?.resumedTokens).toBeGreaterThan(0);
    }
  });

  it('goes on when it breaks at any byte', async () => {
    const body = { max_tokens: 8, temperature: 0, stream_options: { include_usage: true } };
    const prompt = freshPrompt();
    const alone = await stream(single.directUrl, '/v1/completions', { ...body, prompt });
    for (let bytes = 1; bytes < 3000; bytes += 97) {
      faultOne('decode', { kind: 'cut', bytes }, 'whole');
      const pooled = await stream(bed.router.url, '/v1/completions', { ...body, prompt });
      const seen = {
        text: pooled.text,
        done: pooled.done,
        broken: pooled.broken,
        usages: pooled.events.filter((event) => event['usage']).length,
      };
      expect({ bytes, ...seen }).toEqual({ bytes, text: alone.text, done: true, broken: false, usages: 1 });
      expect(pooled.events.filter((event) => JSON.stringify(event).includes('"finish_reason":"'))).toHaveLength(1);
    }
  });

  it('goes on when the engine itself reports an error', async () => {
    const body = { prompt: freshPrompt(), max_tokens: 6, temperature: 0 };
    const alone = await stream(single.directUrl, '/v1/completions', body);
    const event = 'data: {"error":{"message":"lost","type":"server_error","param":null,"code":"internal"}}\n\n';
    const head = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n';
    faultOne('decode', { kind: 'answer', text: `${head}${event.length.toString(16)}\r\n${event}\r\n` }, 'whole');
    const pooled = await stream(bed.router.url, '/v1/completions', body);
    expect(pooled).toMatchObject({ text: alone.text, done: true });
    expect(pooled.raw).not.toContain('"error"');
  });

  it('goes on when the instance dies for good, and leaves it out from then on', async () => {
    const body = { prompt: freshPrompt(), max_tokens: 40, temperature: 0.8, seed: 3 };
    const alone = await stream(single.directUrl, '/v1/completions', body);
    let killed: EngineHandle | undefined;
    const pooled = await stream(bed.router.url, '/v1/completions', body, (events) => {
      if (events < 10 || killed) return;
      killed = bed.engines.find((engine) => engine.role === 'decode' && engine.core.load().running > 0);
      killed?.gate.close();
    });
    expect(killed).toBeDefined();
    expect(pooled).toMatchObject({ text: alone.text, done: true });
    await until(async () => {
      const { instances } = (await bed.admin('GET', '/admin/instances')) as { instances: readonly { id: string; connected: boolean }[] };
      return instances.find(({ id }) => id === killed?.id)?.connected === false;
    });
    const next = await bed.post('/v1/completions', { model: MODEL, prompt: freshPrompt(), max_tokens: 2 });
    expect(next.status).toBe(200);
  });

  it('says so when nobody can go on: an error event, no [DONE], a broken body', async () => {
    let met = false;
    for (const gate of gates('decode')) {
      gate.fault = (seen) => {
        // The router's own probe must not be the one that is cut.
        if (seen.head.includes('sluice opens')) return PASS;
        const fault: Fault = met ? { kind: 'drop' } : { kind: 'cut', bytes: 1500 };
        met = true;
        return fault;
      };
    }
    const pooled = await stream(bed.router.url, '/v1/completions', {
      prompt: freshPrompt(),
      max_tokens: 200,
      temperature: 0,
      ignore_eos: true,
    });
    expect(pooled).toMatchObject({ status: 200, done: false, broken: true });
    expect(pooled.events.at(-1)).toMatchObject({ error: { type: 'server_error', code: 'stream_interrupted' } });
    expect(pooled.events.length).toBeGreaterThan(1);
    expect(await recordOf(pooled.requestId)).toMatchObject({ outcome: 'failed' });
  });
});

describe('when everything fails', () => {
  it.each<[string, Fault, number, string]>([
    ['drops', { kind: 'drop' }, 502, 'engine_failed'],
    ['answers 500', { kind: 'answer', text: ANSWER_500 }, 502, 'engine_failed'],
    ['hangs', { kind: 'hang' }, 504, 'deadline_exceeded'],
    ['has no room', { kind: 'answer', text: ANSWER_503 }, 503, 'unavailable'],
  ])('and every instance %s, the client gets an error in time', async (_what, fault, status, code) => {
    always('prefill', fault);
    always('decode', fault);
    const answer = await bed.post('/v1/completions', { model: MODEL, prompt: freshPrompt(), max_tokens: 2 });
    expect(answer.status).toBe(status);
    expect(await answer.json()).toMatchObject({ error: { code, type: 'server_error', param: null } });
  });

  it('does without a prefill pool that is gone', async () => {
    for (const gate of gates('prefill')) gate.close();
    const answer = await bed.post('/v1/completions', { model: MODEL, prompt: freshPrompt(), max_tokens: 2 });
    expect(answer.status).toBe(200);
    await answer.text();
    await until(async () => (await fetch(`${bed.router.url}/readyz`)).status === 200);
  });

  it('answers 503 with Retry-After when no instance can decode, and not ready', async () => {
    for (const gate of gates('decode')) gate.close();
    await until(async () => {
      const answer = await bed.post('/v1/completions', { model: MODEL, prompt: 'x', max_tokens: 2 });
      return answer.status === 503 && answer.headers.get('retry-after') !== null;
    });
    await until(async () => (await fetch(`${bed.router.url}/readyz`)).status === 503);
  });

  it('does not hand an engine refusal to other instances', async () => {
    const answer = await bed.post('/v1/completions', { model: MODEL, prompt: freshPrompt(), max_tokens: 2, temperature: 9 });
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ error: { code: 'invalid_request', param: 'temperature' } });
    expect(await recordOf(answer.headers.get('x-request-id'))).toMatchObject({ outcome: 'refused', status: 400 });
  });
});

describe('a client that goes away', () => {
  it.each([
    ['during prefill', 'prefill'],
    ['before the first token', 'decode'],
  ])('%s leaves nothing behind', async (_what, role) => {
    always(role, { kind: 'hang' });
    const cancel = new AbortController();
    const body = JSON.stringify({ model: MODEL, prompt: freshPrompt(), max_tokens: 2, stream: true });
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body, signal: cancel.signal };
    const asked = fetch(`${bed.router.url}/v1/completions`, init).then(
      () => 'answered',
      () => 'cancelled',
    );
    const hung = () => gates(role).some((gate) => gate.seen.some(({ head }) => head.includes('Number')));
    await until(hung);
    cancel.abort();
    expect(await asked).toBe('cancelled');
    await bed.nothingLeft();
  });
});
