/** What vLLM 0.32.0 answers when all is well. */
import { describe, expect, it } from 'vitest';
import { BLOCK, GREEDY, type VllmBed } from './vllm-bed.ts';
import { type Answer, CHAT, COMPLETIONS, type Json, keysOf } from './vllm-client.ts';

const HEAD = ['id', 'object', 'created', 'model', 'choices', 'service_tier', 'system_fingerprint', 'usage'];
const CHOICE = ['index', 'text', 'logprobs', 'finish_reason', 'stop_reason'];
const USAGE = ['prompt_tokens', 'total_tokens', 'completion_tokens', 'prompt_tokens_details'];
const DETAILS = ['cached_tokens', 'created_cache_tokens', 'multimodal_tokens'];
const TAIL = ['kv_transfer_params', 'ec_transfer_params', 'metrics'];

/** @param bed with a pair by the time that the checks run */
export function answers(bed: VllmBed): void {
  describe('answers', () => {
    it('of completions have these fields in this order, and no id of the request in the head', async () => {
      const body = { prompt: bed.promptOf(40), max_tokens: 4, ...GREEDY };
      const { headers, json } = await bed.P.post(COMPLETIONS, body, { 'x-request-id': 'abc-1' });
      expect([headers.get('content-type'), headers.get('x-request-id')]).toEqual(['application/json', null]);
      expect(keysOf(json)).toEqual([...HEAD, ...TAIL]);
      const answer = json as Answer;
      expect(answer).toMatchObject({ id: 'cmpl-abc-1', object: 'text_completion', model: bed.P.model, kv_transfer_params: null });
      expect(keysOf(answer.choices[0])).toEqual([...CHOICE, 'token_ids', 'prompt_logprobs', 'prompt_token_ids', 'routed_experts']);
      expect(answer.choices[0]).toMatchObject({ index: 0, logprobs: null, finish_reason: 'length', stop_reason: null, token_ids: null });
      expect(keysOf(answer.usage)).toEqual([...USAGE, 'completion_tokens_details']);
      expect(answer.usage).toMatchObject({ prompt_tokens: 40, completion_tokens: 4, total_tokens: 44 });
      expect(keysOf(answer.usage?.prompt_tokens_details)).toEqual(DETAILS);
    });

    it('of chats have these fields in this order', async () => {
      const messages = [{ role: 'user', content: 'hello' }];
      const { json } = await bed.P.post(CHAT, { messages, max_tokens: 3, ...GREEDY }, { 'x-request-id': 'abc-2' });
      expect(keysOf(json)).toEqual([...HEAD, 'prompt_logprobs', 'prompt_token_ids', 'prompt_text', ...TAIL]);
      const answer = json as Answer;
      expect(answer).toMatchObject({ id: 'chatcmpl-abc-2', object: 'chat.completion' });
      const choice = ['index', 'message', 'logprobs', 'finish_reason', 'stop_reason', 'token_ids', 'routed_experts'];
      expect(keysOf(answer.choices[0])).toEqual(choice);
      const message = ['role', 'content', 'refusal', 'annotations', 'audio', 'function_call', 'reasoning'];
      expect(keysOf(answer.choices[0]?.message)).toEqual(message);
      expect(answer.choices[0]?.message?.role).toBe('assistant');
    });

    it('of streams come as one event per token, the last with the reason, then usage when asked for, then [DONE]', async () => {
      const body = { prompt: bed.promptOf(40), max_tokens: 3, ...GREEDY };
      const asked = { ...body, stream_options: { include_usage: true } };
      const { events, done, headers } = await bed.P.stream(COMPLETIONS, asked, { 'x-request-id': 'abc-3' });
      expect(headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
      expect(headers.get('x-request-id')).toBeNull();
      expect(done).toBe(true);
      expect(events.map((event) => keysOf(event))).toEqual([
        ...Array.from({ length: 3 }, () => ['id', 'object', 'created', 'model', 'choices']),
        ['id', 'object', 'created', 'model', 'choices', 'usage', 'system_fingerprint'],
      ]);
      expect(events.slice(0, 3).map((event) => keysOf(event.choices[0]))).toEqual(
        Array.from({ length: 3 }, () => [...CHOICE, 'prompt_token_ids', 'token_ids']),
      );
      expect(events.map((event) => event.choices[0]?.finish_reason)).toEqual([null, null, 'length', undefined]);
      expect(keysOf(events[3]?.usage)).toEqual(USAGE);
      expect(keysOf(events[3]?.usage?.prompt_tokens_details)).toEqual(['cached_tokens']);
      expect(events[3]).toMatchObject({ id: 'cmpl-abc-3', choices: [], usage: { prompt_tokens: 40, completion_tokens: 3 } });
      const plain = await bed.P.stream(COMPLETIONS, body);
      expect(plain.events).toHaveLength(3);
      expect(keysOf(plain.events[2])).toEqual(['id', 'object', 'created', 'model', 'choices', 'system_fingerprint']);
    });

    it('of streamed chats begin with an event that has only the role', async () => {
      const messages = [{ role: 'user', content: 'hello' }];
      const asked = { messages, max_completion_tokens: 2, ...GREEDY, stream_options: { include_usage: true } };
      const { events, raw } = await bed.P.stream(CHAT, asked);
      const [role, first, last, usage] = events;
      expect(events).toHaveLength(4);
      expect(raw).toContain(
        '"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"prompt_token_ids":null,"prompt_text":null}',
      );
      expect(keysOf(role)).toEqual(['id', 'object', 'created', 'model', 'choices', 'prompt_token_ids', 'prompt_text']);
      expect(keysOf(first?.choices[0])).toEqual(['index', 'delta', 'logprobs', 'finish_reason', 'token_ids']);
      expect(keysOf(last?.choices[0])).toEqual(['index', 'delta', 'logprobs', 'finish_reason', 'stop_reason', 'token_ids']);
      expect(last?.object).toBe('chat.completion.chunk');
      expect(keysOf(usage?.usage?.prompt_tokens_details)).toEqual(['cached_tokens', 'created_cache_tokens']);
    });

    it('say the same whole and streamed, and each time again when greedy', async () => {
      const body = { prompt: bed.promptOf(60), max_tokens: 12, ...GREEDY, return_token_ids: true };
      const whole = (await bed.P.whole(COMPLETIONS, body)).choices[0];
      const { events, text } = await bed.P.stream(COMPLETIONS, { ...body, seed: 5 });
      expect(text).toBe(whole?.text);
      expect(events.flatMap((event) => event.choices[0]?.token_ids ?? [])).toEqual(whole?.token_ids);
      expect(events.map((event) => event.choices[0]?.prompt_token_ids ?? null)).toEqual([
        body.prompt,
        ...Array(events.length - 1).fill(null),
      ]);
      expect(whole?.prompt_token_ids).toEqual(body.prompt);
    });

    it('depend on the seed when sampled', async () => {
      const body = { prompt: bed.promptOf(20), max_tokens: 12, temperature: 1, ignore_eos: true, return_token_ids: true };
      const ids = async (seed: number) => (await bed.P.whole(COMPLETIONS, { ...body, seed })).choices[0]?.token_ids;
      expect(await ids(1)).toEqual(await ids(1));
      expect(await ids(1)).not.toEqual(await ids(2));
    });

    it('have 16 tokens if a completion does not say, and what fits if a chat does not', async () => {
      const { usage } = await bed.P.whole(COMPLETIONS, { prompt: bed.promptOf(10), ...GREEDY });
      expect(usage?.completion_tokens).toBe(16);
      const chat = await bed.P.stream(CHAT, { messages: [{ role: 'user', content: 'hi' }], ...GREEDY }, {}, 20);
      expect(chat.events.length).toBeGreaterThan(18);
    });

    it('may be several for one prompt, which counts once', async () => {
      const body = { prompt: bed.promptOf(40), max_tokens: 3, temperature: 1, seed: 1, n: 2, ignore_eos: true };
      const whole = await bed.P.whole(COMPLETIONS, body);
      expect(whole.choices.map(({ index }) => index)).toEqual([0, 1]);
      expect(whole.choices[0]?.text).not.toBe(whole.choices[1]?.text);
      expect(whole.usage).toMatchObject({ prompt_tokens: 40, completion_tokens: 6 });
      const { events } = await bed.P.stream(COMPLETIONS, body);
      for (const choice of whole.choices) {
        const mine = events.filter((event) => event.choices[0]?.index === choice.index);
        expect(mine.map((event) => event.choices[0]?.text ?? '').join('')).toBe(choice.text);
        expect(mine.at(-1)?.choices[0]?.finish_reason).toBe('length');
      }
      const chat = { messages: [{ role: 'user', content: 'hello' }], max_tokens: 2, temperature: 1, seed: 1, n: 2 };
      const streamed = await bed.P.stream(CHAT, chat);
      const roles = streamed.events.slice(0, 2).map((event) => event.choices[0]);
      expect(roles.map((choice) => [choice?.index, choice?.delta?.role])).toEqual([
        [0, 'assistant'],
        [1, 'assistant'],
      ]);
    });

    it('tell log-probabilities in two shapes', async () => {
      const body = { prompt: bed.promptOf(20), max_tokens: 2, ...GREEDY };
      const whole = (await bed.P.whole(COMPLETIONS, { ...body, logprobs: 2 })).choices[0]?.logprobs as Json;
      expect(keysOf(whole)).toEqual(['text_offset', 'token_logprobs', 'tokens', 'top_logprobs']);
      expect((whole['tokens'] as string[]).length).toBe(2);
      const { events } = await bed.P.stream(COMPLETIONS, { ...body, logprobs: 1 });
      for (const event of events) expect(event.choices[0]?.logprobs).toMatchObject({ tokens: [expect.any(String)] });
      const chat = { messages: [{ role: 'user', content: 'hello' }], max_tokens: 2, ...GREEDY, logprobs: true, top_logprobs: 2 };
      const said = (await bed.P.whole(CHAT, chat)).choices[0]?.logprobs as { content: Json[] };
      expect(keysOf(said)).toEqual(['content']);
      expect(said.content).toHaveLength(2);
      expect(keysOf(said.content[0])).toEqual(['token', 'logprob', 'bytes', 'top_logprobs']);
      expect(said.content[0]?.['top_logprobs']).toHaveLength(2);
    });

    it('end before a stop string, and name it', async () => {
      const body = { prompt: bed.promptOf(30), max_tokens: 40, ...GREEDY };
      const free = (await bed.P.whole(COMPLETIONS, body)).choices[0]?.text ?? '';
      const stop = free.slice(6).match(/[!-~]/)?.[0];
      if (stop === undefined) throw new Error(`choose another prompt: ${JSON.stringify(free)}`);
      const stopped = (await bed.P.whole(COMPLETIONS, { ...body, stop: [stop] })).choices[0];
      expect(stopped).toMatchObject({ finish_reason: 'stop', stop_reason: stop, text: free.slice(0, free.indexOf(stop)) });
      const { events, text } = await bed.P.stream(COMPLETIONS, { ...body, stop });
      expect(text).toBe(stopped?.text);
      expect(events.at(-1)?.choices[0]).toMatchObject({ finish_reason: 'stop', stop_reason: stop });
      const longer = await bed.P.whole(COMPLETIONS, { ...body, stop, min_tokens: 30 });
      expect(longer.usage?.completion_tokens).toBeGreaterThanOrEqual(30);
    });

    it('do not change by unknown fields, nor by headers of another dialect', async () => {
      const body = { prompt: bed.promptOf(40), max_tokens: 3, ...GREEDY };
      const plain = (await bed.P.whole(COMPLETIONS, body)).choices;
      const headers = { 'x-sluice-leg': 'prefill', 'x-sluice-tokens': '1', 'x-sluice-resume': '1,2', 'x-sluice-ticket': 'no' };
      const { json } = await bed.P.post(COMPLETIONS, { ...body, unheard_of: { a: [1] } }, headers);
      expect((json as Answer).choices).toEqual(plain);
    });

    it('reuse a prompt under the same salt only', async () => {
      const body = { prompt: bed.promptOf(4 * BLOCK), max_tokens: 1, ...GREEDY };
      const cached = async (salt: string) =>
        (await bed.P.whole(COMPLETIONS, { ...body, cache_salt: salt })).usage?.prompt_tokens_details?.cached_tokens;
      expect([await cached('one'), await cached('two'), await cached('one')]).toEqual([0, 0, 3 * BLOCK]);
    });
  });
}
