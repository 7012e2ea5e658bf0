/** Real vLLM, one prefill and one decode instance with NIXL between them, under `sluice up`: what clients get, and what moves. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, metric, post, randomFrom, streamed, textOf, whole } from './client.ts';
import { Deployment, MODEL } from './deployment.ts';
import { until } from './running.ts';

const PROMPTS = Number(process.env['SLUICE_VLLM_PROMPTS'] ?? 200);
const LONGEST = 3_900;
const BLOCK_TOKENS = 32;
/** 4 layers, keys and values, 2 heads of 64 numbers of 4 bytes, 32 tokens. */
const BLOCK_BYTES = 4 * 2 * 2 * 64 * 4 * BLOCK_TOKENS;

/** Tried until two of them went over a pair in both turns. */
const CONVERSATIONS = 12;

const deployment = new Deployment();
/** vLLM's own address of the two instances. */
let prefillUrl = '';
let decodeUrl = '';

beforeAll(async () => {
  await deployment.start({ prefill: 1, decode: 1 });
  prefillUrl = (await deployment.running.instance('prefill-0')).requestUrl;
  decodeUrl = (await deployment.running.instance('decode-0')).requestUrl;
}, 300_000);

afterAll(async () => {
  const left = await deployment.close();
  expect(left).toEqual([]);
}, 60_000);

/** The same request to one vLLM alone: under a salt of its own it finds nothing of what went before. */
function alone(body: Record<string, unknown>): Promise<Answer> {
  return whole(decodeUrl, { ...body, cache_salt: 'alone' });
}

/** An answer without what may differ between two runs: its id, its time, and how much of the prompt was cached. */
function essence({ choices, usage }: Answer): object {
  return { choices, prompt: usage.prompt_tokens, completion: usage.completion_tokens, total: usage.total_tokens };
}

const greedy = { model: MODEL, temperature: 0, ignore_eos: true };
const say = (content: string) => [{ role: 'user', content }];
const tool = {
  type: 'function',
  function: { name: 'weather', description: 'tells the weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } },
};
const schema = { type: 'object', properties: { ok: { type: 'boolean' } }, required: ['ok'], additionalProperties: false };

describe('what clients get is what vLLM alone gives', () => {
  const cases: readonly [string, Record<string, unknown>][] = [
    ['a completion', { prompt: 'The sluice opens and the water runs. '.repeat(5), max_tokens: 24 }],
    ['a completion with the default length', { prompt: 'The gate closes behind it. '.repeat(4) }],
    ['a chat', { messages: say('Tell me of sluices and of the pools between them. '.repeat(3)), max_tokens: 24 }],
    [
      'a chat of several turns',
      {
        messages: [{ role: 'system', content: 'Be brief.' }, ...say('One'), { role: 'assistant', content: 'Two' }, ...say('Three')],
        max_completion_tokens: 20,
      },
    ],
    ['token ids as prompt', { prompt: Array.from({ length: 150 }, (_, at) => 32 + ((at * 7) % 90)), max_tokens: 16 }],
    ['token ids in the answer', { prompt: 'ids '.repeat(30), max_tokens: 12, return_token_ids: true }],
    ['log-probabilities of a completion', { prompt: 'likely '.repeat(20), max_tokens: 8, logprobs: 3 }],
    ['log-probabilities of a chat', { messages: say('likely '.repeat(20)), max_tokens: 8, logprobs: true, top_logprobs: 2 }],
    ['a seeded sample', { prompt: 'sample '.repeat(20), max_tokens: 20, temperature: 0.8, seed: 17 }],
    ['a stop string', { prompt: 'stop here '.repeat(20), max_tokens: 60, stop: ['e', 'a'] }],
    [
      'min_tokens with stop token ids',
      { prompt: 'at least '.repeat(20), max_tokens: 30, min_tokens: 9, stop_token_ids: [64, 65, 66, 67, 68, 69, 70] },
    ],
    [
      'penalties and a bias',
      { prompt: 'penalty '.repeat(20), max_tokens: 20, presence_penalty: 1, frequency_penalty: 0.5, logit_bias: { '40': -5 } },
    ],
    ['two answers', { prompt: 'twice '.repeat(20), max_tokens: 10, n: 2, temperature: 0.7, seed: 5 }],
    ['two prompts', { prompt: ['first '.repeat(20), 'second '.repeat(20)], max_tokens: 10 }],
    ['the prompt in the answer', { prompt: 'echo '.repeat(12), max_tokens: 6, echo: true }],
    ['log-probabilities of the prompt', { prompt: 'echo '.repeat(12), max_tokens: 4, prompt_logprobs: 1 }],
    ['tools as text', { messages: say('weather in Basel? '.repeat(4)), tools: [tool], tool_choice: 'none', max_tokens: 16 }],
    [
      'guided JSON',
      {
        messages: say('give me JSON '.repeat(6)),
        max_tokens: 24,
        response_format: { type: 'json_schema', json_schema: { name: 'ok', schema } },
      },
    ],
    ['a guided choice', { prompt: 'yes or no? '.repeat(8), max_tokens: 4, structured_outputs: { choice: ['yes', 'no'] } }],
    ['a prompt shorter than a block', { prompt: 'hi', max_tokens: 8 }],
    ['a prompt of one whole block', { prompt: 'x'.repeat(BLOCK_TOKENS), max_tokens: 8 }],
  ];

  it.each(cases)('%s', { timeout: 120_000 }, async (_, body) => {
    const request = { ...greedy, ...body };
    const [routed, direct] = [await whole(deployment.url, request), await alone(request)];
    expect(essence(routed)).toEqual(essence(direct));
    // vLLM does not stream these.
    if ('prompt_logprobs' in body) return;
    const stream = await streamed(deployment.url, request);
    expect(stream).toMatchObject({ status: 200, done: true, error: null });
    if (direct.choices.length === 1 && body['echo'] !== true) {
      expect(stream.text).toBe(direct.choices[0]?.text ?? direct.choices[0]?.message?.content);
      expect(stream.finish).toBe(direct.choices[0]?.finish_reason);
    }
    expect(stream.usage).toMatchObject({ completion_tokens: direct.usage.completion_tokens, prompt_tokens: direct.usage.prompt_tokens });
    expect([...stream.ids].join()).not.toMatch(/127\.0\.0\.1|localhost|:\d{4,5}/);
  });

  const wrong: readonly [string, Record<string, unknown>][] = [
    ['a prompt longer than the context', { prompt: 'x'.repeat(5_000), max_tokens: 4 }],
    ['more tokens than the context has', { prompt: 'x', max_tokens: 50_000 }],
    ['a temperature below 0', { prompt: 'x', temperature: -1 }],
    ['an empty prompt', { prompt: '', max_tokens: 4 }],
    ['a chat without messages', { messages: [], max_tokens: 4 }],
    ['log-probabilities of a wrong count', { prompt: 'x', logprobs: 1_000 }],
    ['a stop list of a wrong type', { prompt: 'x', stop: 5 }],
  ];

  it.each(wrong)('refuses as vLLM does: %s', { timeout: 60_000 }, async (_, body) => {
    const request = { ...greedy, ...body };
    const [routed, direct] = [await post(deployment.url, request), await post(decodeUrl, request)];
    expect(routed.status).toBe(direct.status);
    if (direct.status === 200) return;
    const message = async (response: Response) => ((await response.json()) as { error: { message: string } }).error.message;
    expect(await message(routed)).toBe(await message(direct));
  });

  it(`is equal for ${PROMPTS} prompts of 1 to ${LONGEST} tokens`, { timeout: 1_500_000 }, async () => {
    const random = randomFrom(3);
    const different: number[] = [];
    const before = await metric(decodeUrl, 'vllm:nixl_bytes_transferred_sum');
    for (let at = 0; at < PROMPTS; at += 1) {
      const body = { ...greedy, prompt: textOf(random, 1 + Math.floor(random() * LONGEST)), max_tokens: 16, return_token_ids: true };
      const [routed, direct] = [await whole(deployment.url, body), await alone(body)];
      if (JSON.stringify(essence(routed)) !== JSON.stringify(essence(direct))) different.push(at);
    }
    expect(different).toEqual([]);
    const pulled = (await metric(decodeUrl, 'vllm:nixl_bytes_transferred_sum')) - before;
    expect(pulled, 'bytes that really came from the prefill instance').toBeGreaterThan(
      (PROMPTS * LONGEST * 0.35 * BLOCK_BYTES) / BLOCK_TOKENS,
    );
  });
});

describe('what moves and what stays', () => {
  it('pulls only the blocks that the decode instance lacks, by its own counter', { timeout: 240_000 }, async () => {
    const random = randomFrom(11);
    const pulls = async () => ({
      bytes: await metric(decodeUrl, 'vllm:nixl_bytes_transferred_sum'),
      count: await metric(decodeUrl, 'vllm:nixl_bytes_transferred_count'),
    });
    /**
     * What a request pulled; null when the router found the decode instance alone cheaper, which pulls nothing, and when a probe of
     * the router pulled meanwhile.
     */
    async function asked(prompt: string) {
      const before = await pulls();
      const response = await post(deployment.url, { ...greedy, prompt, max_tokens: 8 });
      const answer = (await response.json()) as Answer;
      const record = await recordOf(response.headers.get('x-request-id') ?? '');
      const after = await pulls();
      const alone = record.attempts[0]?.decision.chosen.prefill === null;
      const undisturbed = after.count - before.count === (alone ? 0 : 1);
      if (alone && undisturbed) expect(after.bytes).toBe(before.bytes);
      return { moved: alone || !undisturbed ? null : after.bytes - before.bytes, answer };
    }
    let overPairs = 0;
    for (let conversation = 0; conversation < CONVERSATIONS && overPairs < 2; conversation += 1) {
      const first = textOf(random, 40 * BLOCK_TOKENS);
      const cold = await asked(`${first}!`);
      if (cold.moved === null) continue;
      // 40 blocks and one token: a last block that is not full travels as a whole.
      expect(cold.moved).toBeGreaterThanOrEqual(40 * BLOCK_BYTES);
      expect(cold.moved).toBeLessThanOrEqual(41 * BLOCK_BYTES);
      const again = await asked(`${first}!${cold.answer.choices[0]?.text ?? ''}${textOf(random, 20 * BLOCK_TOKENS)}`);
      if (again.moved === null) continue;
      expect(again.moved, 'bytes of the second turn').toBeLessThanOrEqual(22 * BLOCK_BYTES);
      expect(again.moved).toBeGreaterThanOrEqual(18 * BLOCK_BYTES);
      // What the client is told is cached is what prefill did not compute again.
      expect(again.answer.usage.prompt_tokens_details?.cached_tokens).toBeGreaterThanOrEqual(40 * BLOCK_TOKENS);
      overPairs += 1;
    }
    expect(overPairs, 'conversations of which both turns went over a pair').toBe(2);
  });

  it('knows what the instances hold: the prediction is vLLM’s own count of hits', { timeout: 120_000 }, async () => {
    const random = randomFrom(12);
    const shared = textOf(random, 20 * BLOCK_TOKENS);
    await whole(deployment.url, { ...greedy, prompt: `${shared}one`, max_tokens: 2 });
    for (let turn = 0; turn < 5; turn += 1) {
      const prompt = `${shared}${textOf(random, 3 * BLOCK_TOKENS + turn)}`;
      const [hitsP, hitsD] = await Promise.all([hits(prefillUrl), hits(decodeUrl)]);
      const response = await post(deployment.url, { ...greedy, prompt, max_tokens: 2 });
      const record = await recordOf(response.headers.get('x-request-id') ?? '');
      const { chosen } = record.attempts[0]?.decision ?? { chosen: null };
      const [gotP, gotD] = [(await hits(prefillUrl)) - hitsP, (await hits(decodeUrl)) - hitsD];
      expect(chosen, 'a decision').not.toBeNull();
      if (chosen?.prefill === null) expect(gotD).toBe(chosen.cachedBlocks * BLOCK_TOKENS);
      else expect(gotP).toBe((chosen?.cachedBlocks ?? -1) * BLOCK_TOKENS);
    }
  });

  it('keeps tenants apart by cache_salt', { timeout: 60_000 }, async () => {
    const prompt = textOf(randomFrom(13), 12 * BLOCK_TOKENS);
    const cached = async (cache_salt: string) =>
      (await whole(deployment.url, { ...greedy, prompt, max_tokens: 1, cache_salt })).usage.prompt_tokens_details?.cached_tokens ?? 0;
    expect(await cached('tenant-a')).toBe(0);
    expect(await cached('tenant-b')).toBe(0);
    expect(await cached('tenant-a')).toBeGreaterThanOrEqual(11 * BLOCK_TOKENS);
  });

  it('frees what a cancelled stream held, on both instances', { timeout: 120_000 }, async () => {
    const random = randomFrom(14);
    for (let turn = 0; turn < 4; turn += 1) {
      const abort = new AbortController();
      const body = { ...greedy, prompt: textOf(random, 30 * BLOCK_TOKENS), max_tokens: 2_000, stream: true };
      const response = await post(deployment.url, body, abort.signal).catch(() => null);
      if (turn % 2 === 0) await response?.body?.getReader().read();
      abort.abort();
    }
    const used = async (url: string) => metric(url, 'vllm:kv_cache_usage_perc');
    await until('all KV is free again', 45_000, async () => (await used(prefillUrl)) === 0 && (await used(decodeUrl)) === 0);
    expect(await metric(decodeUrl, 'vllm:num_requests_running')).toBe(0);
  });

  it('never lets a client’s own kv_transfer_params through', { timeout: 60_000 }, async () => {
    const broken = { do_remote_prefill: true, do_remote_decode: false, remote_block_ids: [[1, 2, 3]], remote_engine_id: 'x' };
    const body = { ...greedy, prompt: 'safe '.repeat(30), max_tokens: 8 };
    for (const path of ['prompt', 'chat'] as const) {
      const request = path === 'prompt' ? body : { ...greedy, messages: say('safe '.repeat(30)), max_tokens: 8 };
      const answer = await whole(deployment.url, { ...request, kv_transfer_params: broken });
      expect(essence(answer)).toEqual(essence(await alone(request)));
    }
    expect((await fetch(`${decodeUrl}/health`)).status).toBe(200);
  });
});

function hits(url: string): Promise<number> {
  return metric(url, 'vllm:prefix_cache_hits_total');
}

interface Recorded {
  readonly attempts: readonly {
    readonly decision: { readonly chosen: { readonly prefill: string | null; readonly cachedBlocks: number } };
  }[];
}

async function recordOf(id: string): Promise<Recorded> {
  return (await (await fetch(`${deployment.running.adminUrl}/admin/requests/${encodeURIComponent(id)}`)).json()) as Recorded;
}
