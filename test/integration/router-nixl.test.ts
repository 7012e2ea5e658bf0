/** vLLM's dialect when all is well: what each leg gets, what the client sees, what is recorded. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Json, MODEL } from './router-fixture.ts';
import { NixlBed } from './router-nixl-fixture.ts';

let bed: NixlBed;

beforeAll(async () => {
  bed = await NixlBed.start({ prefill: 2, decode: 2 }, { saltHeader: 'x-tenant' });
});

afterAll(() => bed.close());

beforeEach(() => bed.heal());

afterEach(async () => {
  await bed.nothingLeft();
  expect(bed.deaths).toEqual([]);
});

const GREEDY = { temperature: 0, max_tokens: 9 };
const askedParams = { do_remote_decode: true, do_remote_prefill: false, remote_engine_id: null, remote_block_ids: null };

describe('a pair', () => {
  it('prefills here, decodes there, at the address of the engine and not of its feed', async () => {
    const prompt = bed.prompt();
    const { status, json, id } = await bed.post('/v1/completions', { prompt, ...GREEDY });
    expect(status).toBe(200);
    const [prefill] = bed.asked('prefill');
    const [decode] = bed.asked('decode');
    expect(prefill?.body).toEqual({
      model: MODEL,
      prompt,
      temperature: 0,
      max_tokens: 1,
      stream: false,
      ignore_eos: true,
      kv_transfer_params: { ...askedParams, remote_host: null, remote_port: null },
    });
    expect(decode?.body).toMatchObject({ model: MODEL, prompt, ...GREEDY, kv_transfer_params: { do_remote_prefill: true } });
    expect([prefill, decode].map((asked) => asked?.headers['x-request-id'])).toEqual([id, id]);
    expect(bed.engines.map(({ engineHost }) => engineHost)).toContain(decode?.headers.host);
    expect(json).toMatchObject({ id: `cmpl-${id}`, kv_transfer_params: null });
  });

  it('reports as cached what the prefill instance had, whole and streamed', async () => {
    const whole = await bed.post('/v1/chat/completions', { messages: [{ role: 'user', content: bed.prompt() }], ...GREEDY });
    expect(whole.json['usage']).toMatchObject({ completion_tokens: 9, prompt_tokens_details: { cached_tokens: 32 } });
    const body = { prompt: bed.prompt(), ...GREEDY, stream_options: { include_usage: true } };
    const streamed = await bed.stream('/v1/completions', body);
    expect(streamed.events.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens_details: { cached_tokens: 32 } } });
  });

  it('asks for usage in any case and keeps it from a client that did not', async () => {
    const streamed = await bed.stream('/v1/completions', { prompt: bed.prompt(), ...GREEDY, stream_options: { include_usage: false } });
    expect(streamed).toMatchObject({ status: 200, done: true, broken: false });
    expect(streamed.events.filter((event) => event['usage'])).toEqual([]);
    expect(bed.asked('decode')[0]?.body['stream_options']).toEqual({ include_usage: true });
    const record = await bed.record(streamed.requestId);
    expect(record).toMatchObject({ outcome: 'ok', outputTokens: 9, finishReason: 'length' });
  });

  it('gives the same text streamed as whole, whatever is in it', async () => {
    const prompt = bed.prompt();
    const whole = await bed.post('/v1/completions', { prompt, temperature: 0, max_tokens: 40 });
    const streamed = await bed.stream('/v1/completions', { prompt, temperature: 0, max_tokens: 40 });
    expect(streamed.text).toBe((whole.json['choices'] as { text: string }[])[0]?.text);
    expect(streamed.text).toContain('😀');
  });

  it('records what is known of both legs, and null where nothing is', async () => {
    const { id, json } = await bed.post('/v1/completions', { prompt: bed.prompt(), ...GREEDY });
    const promptTokens = (json['usage'] as Json)['prompt_tokens'] as number;
    const [attempt] = (await bed.record(id)).attempts;
    const blocks = Math.ceil(promptTokens / 16);
    expect(attempt?.['prefill']).toMatchObject({
      report: { promptTokens, reused: { hbm: 32 }, computed: promptTokens - 32, prefillMs: null },
    });
    expect(attempt?.['decode']).toMatchObject({ report: { handOff: { blocks, bytes: blocks * 1000, ms: null, failed: null } } });
  });

  it('takes out what a client says of hand-offs, wherever vLLM would read it', async () => {
    const evil = { do_remote_prefill: true, remote_host: '10.0.0.1' };
    const fields = { kv_transfer_params: evil, ec_transfer_params: evil, vllm_xargs: { kv_transfer_params: 'x', mine: 1 } };
    const { status } = await bed.post('/v1/completions', { prompt: 'short', ...GREEDY, ...fields });
    expect(status).toBe(200);
    const { body } = bed.engines.flatMap((engine) => engine.served)[0] ?? { body: {} };
    expect(body).toEqual({ model: MODEL, prompt: 'short', ...GREEDY, vllm_xargs: { mine: 1 } });
  });

  it('never uses params twice, nor those of another request', async () => {
    const prompts = Array.from({ length: 24 }, () => bed.prompt());
    const answers = await Promise.all(prompts.map((prompt) => bed.post('/v1/completions', { prompt, ...GREEDY })));
    expect(answers.map(({ status }) => status)).toEqual(prompts.map(() => 200));
    expect(bed.asked('decode')).toHaveLength(24);
  });
});

it('shows where requests go, beside where the feed is', async () => {
  const { instances } = (await bed.admin('GET', '/admin/instances')) as { instances: readonly Json[] };
  const shown = instances.map(({ id, role, dialect, requestUrl }) => ({ id, role, dialect, requestUrl }));
  expect(shown).toEqual(bed.engines.map(({ id, role, engineHost }) => ({ id, role, dialect: 'nixl', requestUrl: `http://${engineHost}` })));
  for (const { url, requestUrl } of instances) expect(url).not.toBe(requestUrl);
});

describe('a request that one instance has to do', () => {
  it.each<[string, Json]>([
    ['n', { n: 2 }],
    ['several prompts', { prompt: ['a', 'b'] }],
    ['best_of', { best_of: 2 }],
    ['beam search', { use_beam_search: true }],
    ['echo', { echo: true }],
    ['prompt_logprobs', { prompt_logprobs: 0 }],
    ['prompt_embeds', { prompt_embeds: 'x' }],
    ['truncate_prompt_tokens', { truncate_prompt_tokens: -1 }],
  ])('goes to a decode instance whole: %s', async (_what, fields) => {
    const { status } = await bed.post('/v1/completions', { prompt: bed.prompt(), ...GREEDY, ...fields });
    expect(status).toBe(200);
    expect([bed.asked('prefill'), bed.asked('decode')]).toEqual([[], []]);
    expect(bed.asked('alone')[0]?.body).toMatchObject(fields);
  });
});

describe('salts', () => {
  const saltOf = async (tenant: string, client: string | undefined): Promise<unknown> => {
    bed.heal();
    const headers = tenant === '' ? {} : { 'x-tenant': tenant };
    await bed.post(
      '/v1/completions',
      { prompt: bed.prompt(), ...GREEDY, ...(client === undefined ? {} : { cache_salt: client }) },
      headers,
    );
    const salts = bed.engines.flatMap((engine) => engine.served.map(({ body }) => body['cache_salt']));
    expect(salts).toHaveLength(2);
    expect(salts[0]).toBe(salts[1]);
    return salts[0];
  };

  it('of tenant and client become one that vLLM takes, the same on both legs', async () => {
    const salts = [
      await saltOf('a', undefined),
      await saltOf('', 'a'),
      await saltOf('a', 'b'),
      await saltOf('ab', undefined),
      await saltOf('a@/', 'b'),
    ];
    expect(new Set(salts).size).toBe(salts.length);
    for (const salt of salts) expect(salt).toMatch(/^[\w-]{1,128}$/);
    expect(await saltOf('', undefined)).toBeUndefined();
  });

  it('are never the client’s own words for a tenant', async () => {
    const tenant = await saltOf('a', undefined);
    expect(await saltOf('', String(tenant))).not.toBe(tenant);
  });
});

describe('errors', () => {
  it('of the client are told in OpenAI’s shape, without addresses', async () => {
    const body = { error: { message: 'no such adapter at http://10.1.2.3:8000/v1', type: 'BadRequestError', param: 'model', code: 400 } };
    for (const engine of bed.engines)
      engine.mishap = ({ probe }) => (probe ? { kind: 'none' } : { kind: 'status', status: 400, body: JSON.stringify(body) });
    const answer = await bed.post('/v1/completions', { prompt: bed.prompt(), ...GREEDY });
    expect(answer).toMatchObject({ status: 400, json: { error: { ...body.error, message: 'no such adapter at (address)' } } });
  });

  it('in another shape are not passed on', async () => {
    for (const engine of bed.engines)
      engine.mishap = ({ probe }) => (probe ? { kind: 'none' } : { kind: 'status', status: 422, body: '{"detail":"x"}' });
    const answer = await bed.post('/v1/completions', { prompt: bed.prompt(), ...GREEDY });
    expect(answer).toMatchObject({ status: 422, json: { error: { type: 'invalid_request_error', code: 422 } } });
  });

  it('say what the router’s own field takes', async () => {
    const answer = await bed.post('/v1/completions', { prompt: 'x', sluice: { resume: 'maybe' } });
    expect(answer).toMatchObject({ status: 400, json: { error: { param: 'sluice', code: 'invalid_request' } } });
  });
});
