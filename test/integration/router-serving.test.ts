/** What clients get through the router when nothing goes wrong: by the official client and by plain HTTP. */
import OpenAI, { BadRequestError, NotFoundError } from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Bed, type EngineHandle, type Json, LONG_PROMPT, MODEL, startBed, startEngine, stream, until } from './router-fixture.ts';

let bed: Bed;
let single: EngineHandle;
let client: OpenAI;

beforeAll(async () => {
  bed = await startBed({ prefill: 1, decode: 2 });
  single = await startEngine('single', 'mixed');
  client = new OpenAI({ baseURL: `${bed.router.url}/v1`, apiKey: 'none', maxRetries: 0 });
  await bed.ready();
});

afterAll(async () => {
  await bed.close();
  await single.close();
});

const MESSAGES = [{ role: 'user' as const, content: `${LONG_PROMPT} What does it say?` }];

describe('the official client', () => {
  it('streams a chat with usage at the end', async () => {
    const answer = await client.chat.completions.create({
      model: MODEL,
      messages: MESSAGES,
      max_tokens: 20,
      temperature: 0,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = '';
    let finish: string | null = null;
    let usage: OpenAI.CompletionUsage | null | undefined = null;
    for await (const event of answer) {
      text += event.choices[0]?.delta.content ?? '';
      finish = event.choices[0]?.finish_reason ?? finish;
      usage = event.usage ?? usage;
    }
    expect(text).not.toBe('');
    expect(finish).toBe('length');
    expect(usage?.completion_tokens).toBe(20);
  });

  it('gives the same text whole as streamed', async () => {
    const body = { model: MODEL, messages: MESSAGES, max_tokens: 24, temperature: 0 };
    const whole = await client.chat.completions.create(body);
    const streamed = await stream(bed.router.url, '/v1/chat/completions', body);
    expect(streamed.text).toBe(whole.choices[0]?.message.content);
    expect(whole.usage?.completion_tokens).toBe(24);
  });

  it('completes', async () => {
    const answer = await client.completions.create({ model: MODEL, prompt: LONG_PROMPT, max_tokens: 8, temperature: 0 });
    expect(answer.choices[0]?.finish_reason).toBe('length');
    expect(answer.usage?.prompt_tokens).toBe(Math.ceil(Buffer.byteLength(LONG_PROMPT) / 4));
  });

  it('lists the model, named as simulated', async () => {
    const models = await client.models.list();
    expect(models.data).toMatchObject([{ id: MODEL, object: 'model', simulated: true }]);
  });

  it('gets the error classes that it knows', async () => {
    const create = (change: object) => client.chat.completions.create({ model: MODEL, messages: MESSAGES, ...change });
    await expect(create({ model: 'other' })).rejects.toThrow(NotFoundError);
    await expect(create({ temperature: 7 })).rejects.toThrow(BadRequestError);
    await expect(create({ n: 2 })).rejects.toMatchObject({ status: 400, code: 'unsupported_parameter', param: 'n' });
  });

  it('aborts, and nothing stays behind', async () => {
    const answer = await client.chat.completions.create({ model: MODEL, messages: MESSAGES, max_tokens: 2000, stream: true });
    let events = 0;
    for await (const _event of answer) {
      events += 1;
      if (events === 3) answer.controller.abort();
    }
    expect(events).toBeGreaterThanOrEqual(3);
    await bed.nothingLeft();
  });
});

describe('the way through the pools', () => {
  it('hands over a long prompt, and its text equals that of one engine alone', async () => {
    for (const sampling of [{ temperature: 0 }, { temperature: 0.8, seed: 7 }]) {
      await bed.settled();
      const body = { prompt: `At ${sampling.temperature}: ${LONG_PROMPT}`, max_tokens: 40, ...sampling };
      const pooled = await stream(bed.router.url, '/v1/completions', body);
      const alone = await stream(single.directUrl, '/v1/completions', body);
      expect(pooled.text).toBe(alone.text);
      expect(pooled.done).toBe(true);
      const record = await recordOf(pooled.requestId);
      expect(record).toMatchObject({ outcome: 'ok', outputTokens: 40, resumes: 0 });
      const [attempt] = record['attempts'] as readonly { decision: Json; decode: { report: { handOff: Json } } }[];
      expect(attempt?.decision, JSON.stringify(attempt?.decision)).toMatchObject({ chosen: { prefill: 'prefill-0' }, aside: [] });
      expect(attempt?.decode.report.handOff).toMatchObject({ failed: null });
    }
    await bed.nothingLeft();
  });

  it('knows what is cached: the same prompt again is predicted cheaper, on the instance that has it', async () => {
    const prompt = `Once more: ${LONG_PROMPT}`;
    const ask = async () => {
      const answer = await bed.post('/v1/completions', { model: MODEL, prompt, max_tokens: 2, temperature: 0 });
      expect(answer.status).toBe(200);
      await answer.text();
      return (await recordOf(answer.headers.get('x-request-id'))) as { attempts: { decision: { chosen: Json & { ttftMs: number } } }[] };
    };
    const first = await ask();
    const second = await ask();
    expect(first.attempts[0]?.decision.chosen['cachedBlocks']).toBe(0);
    expect(second.attempts[0]?.decision.chosen['cachedBlocks']).toBeGreaterThan(10);
    expect(second.attempts[0]?.decision.chosen.ttftMs).toBeLessThan(first.attempts[0]?.decision.chosen.ttftMs ?? 0);
  });

  it('tells the client what its own request reused, not what was handed over', async () => {
    const prompt = `Told once: ${LONG_PROMPT}`;
    const answer = await bed.post('/v1/completions', { model: MODEL, prompt, max_tokens: 2, temperature: 0 });
    const { usage } = (await answer.json()) as { usage: { prompt_tokens_details: { cached_tokens: number } } };
    expect(usage.prompt_tokens_details.cached_tokens).toBe(0);
  });
});

describe('what engines are sent', () => {
  it('has none of the routing headers and fields of a client, and the very bytes else', async () => {
    const headers = { 'x-sluice-leg': 'prefill', 'x-sluice-resume': '1,2', 'X-Sluice-Salt': 'mine', 'x-request-id': 'my.id-1' };
    const before = bed.engines.reduce((sum, { gate }) => sum + gate.seen.length, 0);
    const body = '{"model":"sim-model",  "prompt":"a short one","max_tokens":2,"extra":"\\u00e9"}';
    const init = { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body };
    const answer = await fetch(`${bed.router.url}/v1/completions`, init);
    expect(answer.headers.get('x-request-id')).toBe('my.id-1');
    expect(((await answer.json()) as { id: string }).id).toBe('cmpl-my.id-1');
    const seen = bed.engines.flatMap(({ gate }) => gate.seen).filter(({ head }) => head.includes('my.id-1'));
    expect(bed.engines.reduce((sum, { gate }) => sum + gate.seen.length, 0)).toBeGreaterThan(before);
    expect(seen).toHaveLength(1);
    expect(seen[0]?.head).not.toMatch(/x-sluice-(leg|resume|salt)/i);
    expect(seen[0]?.head.endsWith(body)).toBe(true);
  });

  it('takes kv_transfer_params out of a body', async () => {
    const body = { model: MODEL, prompt: 'hello there', max_tokens: 2, kv_transfer_params: { remote_host: '10.1.2.3' }, bootstrap_room: 1 };
    const answer = await bed.post('/v1/completions', body, { 'x-request-id': 'stripped' });
    expect(answer.status).toBe(200);
    const seen = bed.engines.flatMap(({ gate }) => gate.seen).filter(({ head }) => head.includes('stripped'));
    expect(seen.some(({ head }) => head.includes('remote_host') || head.includes('bootstrap_room'))).toBe(false);
  });

  it('gives sampled requests without a seed one, so that they can be resumed', async () => {
    await (await bed.post('/v1/completions', { model: MODEL, prompt: 'a', max_tokens: 1 }, { 'x-request-id': 'seedless' })).text();
    await (await bed.post('/v1/completions', { model: MODEL, prompt: 'a', max_tokens: 1, seed: 5 }, { 'x-request-id': 'seeded' })).text();
    const headOf = (id: string) => bed.engines.flatMap(({ gate }) => gate.seen).find(({ head }) => head.includes(id))?.head ?? '';
    expect(headOf('seedless')).toMatch(/x-sluice-seed: \d+/);
    expect(headOf('x-request-id: seeded')).not.toMatch(/x-sluice-seed/);
  });
});

describe('a stream', () => {
  it('has no token comments, and every event once', async () => {
    const { raw, events } = await stream(bed.router.url, '/v1/chat/completions', { messages: MESSAGES, max_tokens: 30, temperature: 0 });
    expect(raw).not.toMatch(/^:/m);
    expect(events.filter((event) => JSON.stringify(event).includes('"role"'))).toHaveLength(1);
    expect(new Set(events.map((event) => event['id'])).size).toBe(1);
    expect(raw.endsWith('data: [DONE]\n\n')).toBe(true);
  });

  it('waits for a client that reads slowly instead of filling memory', async () => {
    const answer = await bed.post('/v1/completions', {
      model: MODEL,
      prompt: 'slow',
      max_tokens: 400,
      stream: true,
      temperature: 0,
      ignore_eos: true,
    });
    const reader = answer.body?.getReader();
    await reader?.read();
    // The other requests are served meanwhile.
    await (await bed.post('/v1/completions', { model: MODEL, prompt: 'quick', max_tokens: 1 })).text();
    let text = '';
    for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) text += Buffer.from(part.value).toString();
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
  });
});

async function recordOf(id: string | null): Promise<Json> {
  let record: Json = {};
  await until(async () => {
    record = await bed.admin('GET', `/admin/requests/${id}`);
    return (record['outcome'] ?? null) !== null;
  });
  return record;
}
