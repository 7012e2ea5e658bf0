/** SGLang's dialect over simulated instances when all is well: what each leg gets, what the client sees, what is recorded. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { BootstrapBed } from './router-bootstrap-fixture.ts';
import { type Json, MODEL } from './router-fixture.ts';

const GREEDY = { temperature: 0, max_tokens: 9, ignore_eos: true };
let bed: BootstrapBed;
/** One instance that does all of it, for comparison. */
let alone: BootstrapBed;

beforeAll(async () => {
  [bed, alone] = await Promise.all([
    BootstrapBed.start({ prefill: 2, decode: 2 }, { config: { saltHeader: 'x-tenant' } }),
    BootstrapBed.start({ mixed: 1 }),
  ]);
});

afterAll(async () => {
  await bed.close();
  await alone.close();
});

beforeEach(() => bed.heal());

afterEach(() => bed.nothingLeft());

const textOf = ({ json }: { json: Json }) => (json['choices'] as { text: string }[])[0]?.text;

describe('a pair', () => {
  it('gets the same body twice, with a room at the prefill instance', async () => {
    const prompt = bed.prompt();
    const { status } = await bed.post('/v1/completions', { prompt, ...GREEDY });
    expect(status).toBe(200);
    const [prefill] = bed.asked('prefill');
    const [decode] = bed.asked('decode');
    const { transfer } = bed.engines.find(({ id }) => id === prefill?.by)?.core.info ?? {};
    const { bootstrap_room: room, rid, ...body } = prefill?.body ?? {};
    expect(body).toEqual({ model: MODEL, prompt, ...GREEDY, bootstrap_host: transfer?.host, bootstrap_port: transfer?.port });
    expect(Number.isSafeInteger(room)).toBe(true);
    expect(rid).toEqual(expect.any(String));
    expect(decode?.body).toEqual(prefill?.body);
    expect([bed.asked('prefill').length, bed.asked('decode').length, bed.aborted]).toEqual([1, 1, []]);
  });

  it.each(['/v1/completions', '/v1/chat/completions'])('says what one instance alone says, whole and streamed: %s', async (path) => {
    const text = bed.prompt();
    const body = { ...GREEDY, ...(path === '/v1/completions' ? { prompt: text } : { messages: [{ role: 'user', content: text }] }) };
    const [whole, right] = await Promise.all([bed.post(path, body), alone.post(path, body)]);
    expect(whole.status).toBe(200);
    expect(whole.json['choices']).toEqual(right.json['choices']);
    const [streamed, rightly] = await Promise.all([bed.stream(path, body), alone.stream(path, body)]);
    expect(streamed).toMatchObject({ status: 200, done: true, broken: false, text: rightly.text });
    expect(streamed.text).not.toBe('');
  });

  it('never meets in a room twice, nor under one name, however many come at once', async () => {
    const prompts = Array.from({ length: 24 }, () => bed.prompt('A few words of it.'));
    const answers = await Promise.all(
      prompts.map((prompt) => bed.post('/v1/completions', { prompt, ...GREEDY }, { 'x-request-id': 'always-the-same' })),
    );
    const right = await Promise.all(prompts.map((prompt) => alone.post('/v1/completions', { prompt, ...GREEDY })));
    expect(answers.map(textOf)).toEqual(right.map(textOf));
    const all = (name: string) => new Set(bed.asked('decode').map(({ body }) => body[name])).size;
    expect([all('bootstrap_room'), all('rid')]).toEqual([24, 24]);
  });

  it('never hears what a client says of rooms, ranks and names', async () => {
    const evil = {
      bootstrap_host: '10.0.0.1',
      bootstrap_port: 1,
      bootstrap_room: 7,
      rid: 'x',
      routed_dp_rank: 3,
      disagg_prefill_dp_rank: 1,
    };
    const { status } = await bed.post('/v1/completions', { prompt: bed.prompt(), ...GREEDY, ...evil, data_parallel_rank: 2 });
    expect(status).toBe(200);
    for (const { body } of [...bed.asked('prefill'), ...bed.asked('decode')]) {
      expect(body['bootstrap_host']).not.toBe('10.0.0.1');
      expect([body['bootstrap_room'] === 7, body['rid'] === 'x']).toEqual([false, false]);
      expect(Object.keys(body).filter((name) => name.includes('dp_rank') || name.includes('parallel'))).toEqual([]);
    }
  });

  it('asks for usage in any case and keeps it from a client that did not', async () => {
    const streamed = await bed.stream('/v1/completions', { prompt: bed.prompt(), ...GREEDY });
    expect(streamed.events.filter((event) => event['usage'])).toEqual([]);
    expect(bed.asked('decode')[0]?.body['stream_options']).toEqual({ include_usage: true });
    const record = await bed.record(streamed.requestId);
    expect(record).toMatchObject({ outcome: 'ok', outputTokens: 9, finishReason: 'length' });
    const [attempt] = record.attempts;
    expect(attempt?.decode).toMatchObject({ report: { reused: null, computed: null, handOff: { ms: null, failed: null } } });
  });

  it('shares nothing between tenants', async () => {
    const prompt = bed.prompt();
    const ask = async (tenant: string) => {
      bed.heal();
      await bed.post('/v1/completions', { prompt, ...GREEDY, cache_salt: 'mine' }, { 'x-tenant': tenant });
      const salts = [...bed.asked('prefill'), ...bed.asked('decode')].map(({ body }) => body['cache_salt']);
      expect(salts[0]).toBe(salts[1]);
      return salts[0];
    };
    expect(await ask('a')).not.toBe(await ask('b'));
  });
});

describe('a request that a pair cannot share', () => {
  it('is refused in words where there are only pairs', async () => {
    const answer = await bed.post('/v1/completions', { prompt: ['a', 'b'], ...GREEDY });
    expect(answer).toMatchObject({ status: 400, json: { error: { code: 'unsupported_parameter' } } });
    expect([bed.asked('prefill'), bed.asked('decode')]).toEqual([[], []]);
  });
});

it('passes an error of the client on in OpenAI’s shape', async () => {
  const flat = { object: 'error', message: 'no such adapter at http://10.1.2.3:8000/v1', type: 'BadRequestError', param: null, code: 400 };
  for (const engine of bed.engines) engine.mishap = () => ({ kind: 'status', status: 400, body: flat });
  const answer = await bed.post('/v1/completions', { prompt: bed.prompt(), ...GREEDY });
  const message = 'no such adapter at (address)';
  expect(answer).toMatchObject({ status: 400, json: { error: { message, type: 'BadRequestError', code: 400 } } });
});

it('is shown as what it is', async () => {
  const { instances } = (await bed.admin('GET', '/admin/instances')) as { instances: readonly Json[] };
  expect(instances.map(({ dialect }) => dialect)).toEqual(['bootstrap', 'bootstrap', 'bootstrap', 'bootstrap']);
});
