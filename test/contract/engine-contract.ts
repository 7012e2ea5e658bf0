/** What every engine behind `engines/openai` promises its clients and the router. Runs against any EngineCore. */
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EngineCore, Role } from '../../src/engines/index.ts';
import { BAD_HEADERS, BAD_INPUT, COMPLETIONS } from './engine-refusals.ts';
import { type Answer, type Face, type Json, jsonOf, parseStream, post, prefill, type Refusal, startFace, stream, until } from './face.ts';

/** Words in an order that depends on `salt`, so that prompts of different tests share no block. */
export function promptOf(words: number, salt: string): string {
  return Array.from({ length: words }, (_, index) => `${salt}${(index * 7919 + salt.length * 31) % 9973}`).join(' ');
}

const SEEDED = { temperature: 0.8, seed: 42, ignore_eos: true };

/**
 * @param makeCore a fresh engine whose context is 2,048 tokens or more and which can generate at least 64 tokens at any prompt
 */
export function engineContract(name: string, makeCore: (instance: string, role: Role) => Promise<EngineCore>): void {
  describe(`${name}: the engine protocol`, () => {
    let face: Face;
    let decoder: Face;
    let client: OpenAI;
    let model: string;

    beforeAll(async () => {
      [face, decoder] = await Promise.all([makeCore('p-1', 'mixed').then(startFace), makeCore('d-1', 'decode').then(startFace)]);
      model = face.core.info.model;
      client = new OpenAI({ baseURL: `${face.url}/v1`, apiKey: 'none', maxRetries: 0 });
    });

    afterAll(async () => {
      await Promise.all([face.close(), decoder.close()]);
    });

    const idle = (which: Face) => until(() => which.core.load().running + which.core.load().waiting === 0, 'idle');
    const whole = async (body: Json, path = COMPLETIONS) => jsonOf<Answer>(await post(face, path, body));

    it('gives the same text whole and streamed, and reports every token once', async () => {
      const body = { prompt: promptOf(40, 'same'), max_tokens: 24, ...SEEDED };
      const answer = await whole({ ...body, return_token_ids: true });
      const streamed = await stream(face, COMPLETIONS, { ...body, stream_options: { include_usage: true } });
      expect(streamed.text).toBe(answer.choices[0]?.text);
      expect(streamed.tokens).toEqual(answer.choices[0]?.token_ids);
      expect(streamed.tokens).toHaveLength(24);
      expect(streamed.finish).toBe('length');
      expect(streamed.done).toBe(true);
      expect(streamed.events.at(-1)?.usage).toMatchObject({ completion_tokens: 24, prompt_tokens: answer.usage?.prompt_tokens });
      expect(answer).toMatchObject({ object: 'text_completion', model, choices: [{ index: 0, finish_reason: 'length', logprobs: null }] });
    });

    it('depends on the seed when it samples, and does not when it is greedy', async () => {
      const body = { prompt: promptOf(10, 'seed'), max_tokens: 32, ignore_eos: true };
      const text = async (extra: Json) => (await whole({ ...body, ...extra })).choices[0]?.text;
      expect(await text({ temperature: 1, seed: 1 })).toBe(await text({ temperature: 1, seed: 1 }));
      expect(await text({ temperature: 1, seed: 1 })).not.toBe(await text({ temperature: 1, seed: 2 }));
      expect(await text({ temperature: 0, seed: 1 })).toBe(await text({ temperature: 0, seed: 2 }));
    });

    it('takes the seed of the header only when the body has none', async () => {
      const body = { prompt: promptOf(10, 'header'), max_tokens: 32, temperature: 1, ignore_eos: true };
      const text = async (extra: Json, headers: Record<string, string>) =>
        (await stream(face, COMPLETIONS, { ...body, ...extra }, headers)).text;
      const seven = await text({ seed: 7 }, {});
      expect(await text({}, { 'x-sluice-seed': '7' })).toBe(seven);
      expect(await text({ seed: 7 }, { 'x-sluice-seed': '8' })).toBe(seven);
    });

    it.each([0, 1, 7, 23])('goes on after %i tokens of another instance as if nothing had happened', async (count) => {
      const body = { prompt: promptOf(30, 'resume'), max_tokens: 24, ...SEEDED };
      const unbroken = await stream(face, COMPLETIONS, body);
      const ids = unbroken.tokens.slice(0, count);
      const before = await stream(face, COMPLETIONS, { ...body, max_tokens: Math.max(1, count) });
      const resumed = await stream(
        decoder,
        COMPLETIONS,
        { ...body, stream_options: { include_usage: true } },
        { 'x-sluice-resume': ids.join(',') },
      );
      expect(resumed.tokens).toEqual(unbroken.tokens.slice(count));
      // A character may lie across the cut: then the text before it ends in a replacement that the unbroken text does not have.
      if (count > 0 && !before.text.endsWith('\ufffd')) expect(before.text + resumed.text).toBe(unbroken.text);
      expect(resumed.events.at(-1)?.usage?.completion_tokens).toBe(24);
    });

    it('ends at once when the resumed tokens are all there is', async () => {
      const body = { prompt: promptOf(30, 'resume'), max_tokens: 8, ...SEEDED };
      const { tokens } = await stream(face, COMPLETIONS, body);
      const resumed = await stream(decoder, COMPLETIONS, body, { 'x-sluice-resume': tokens.join(',') });
      expect(resumed).toMatchObject({ tokens: [], finish: 'length', done: true });
    });

    it('stops before a stop string, wherever tokens cut it, and reports the tokens held back', async () => {
      const body = { prompt: promptOf(20, 'stop'), max_tokens: 32, ...SEEDED };
      const free = await stream(face, COMPLETIONS, body);
      // Odd, so that the stop string starts inside a token.
      const middle = Math.floor(free.text.length / 4) * 2 + 1;
      const stop = free.text.slice(middle, middle + 6);
      if (!stop.isWellFormed() || stop.includes('\ufffd')) throw new Error(`choose another prompt: ${JSON.stringify(stop)}`);
      const stopped = await stream(face, COMPLETIONS, { ...body, stop });
      expect(stopped.text).toBe(free.text.slice(0, free.text.indexOf(stop)));
      expect(stopped.finish).toBe('stop');
      expect(stopped.tokens).toEqual(free.tokens.slice(0, stopped.tokens.length));
      expect(stopped.tokens.length).toBeLessThan(free.tokens.length);
      expect((await whole({ ...body, stop })).choices[0]).toMatchObject({ text: stopped.text, finish_reason: 'stop' });
      await idle(face);
    });

    it('may be broken off after any event: what was sent and what a resumed stream sends are the whole text, stop strings included', async () => {
      const body = { prompt: promptOf(20, 'stop'), max_tokens: 32, ...SEEDED };
      const free = await stream(face, COMPLETIONS, body);
      // Odd, so that the stop string starts inside a token.
      const middle = Math.floor(free.text.length / 4) * 2 + 1;
      const stopped = await stream(face, COMPLETIONS, { ...body, stop: free.text.slice(middle, middle + 6) });
      const ids: number[] = [];
      let sent = '';
      for (const step of stopped.steps.slice(0, -1)) {
        ids.push(...step.ids);
        sent += step.text;
        const rest = await stream(
          decoder,
          COMPLETIONS,
          { ...body, stop: free.text.slice(middle, middle + 6) },
          { 'x-sluice-resume': ids.join(',') },
        );
        expect(sent + rest.text).toBe(stopped.text);
        expect([...ids, ...rest.tokens]).toEqual(stopped.tokens);
        expect(rest.finish).toBe('stop');
      }
      expect(ids.length).toBeGreaterThan(3);
    });

    it('hands KV over: the decode instance says what one engine alone says and computes only the tail', async () => {
      const body = { prompt: promptOf(60, 'handoff'), max_tokens: 16, ...SEEDED };
      const { ticket, report, object } = await prefill(face, body);
      const { blockTokens } = face.core.info.identity;
      expect(object).toBe('sluice.handoff');
      expect(ticket.blocks).toBe(Math.floor(report.promptTokens / blockTokens));
      expect(face.core.load().leases).toBe(1);
      const decoded = await stream(decoder, COMPLETIONS, body, { 'x-sluice-ticket': JSON.stringify(ticket) });
      const alone = await stream(face, COMPLETIONS, body);
      expect(decoded.tokens).toEqual(alone.tokens);
      expect(decoded.report.handOff).toMatchObject({ blocks: ticket.blocks, failed: null });
      const { hbm, host, peer, store } = decoded.report.reused;
      expect(hbm + host + peer + store + decoded.report.computed).toBe(report.promptTokens);
      expect(decoded.report.computed).toBeLessThanOrEqual(blockTokens);
      await until(() => face.core.load().leases === 0, 'the lease ends by acknowledgement');
    });

    it('recomputes when the peer is gone', async () => {
      const body = { prompt: promptOf(60, 'gone'), max_tokens: 8, ...SEEDED };
      const { ticket } = await prefill(face, body);
      const wrong = { ...ticket, port: 1 };
      const decoded = await stream(decoder, COMPLETIONS, body, { 'x-sluice-ticket': JSON.stringify(wrong), 'x-sluice-pull-ms': '500' });
      expect(decoded.tokens).toEqual((await stream(face, COMPLETIONS, body)).tokens);
      expect(decoded.report.handOff?.failed).toEqual(expect.any(String));
      expect((await post(face, '/sluice/release', { lease: ticket.lease })).status).toBe(200);
      expect(face.core.load().leases).toBe(0);
    });

    it('finds the prefix of an earlier request, but not under another salt', async () => {
      const prompt = promptOf(60, 'prefix');
      const cached = async (headers: Record<string, string>) => {
        const answer = await jsonOf<Answer>(await post(face, COMPLETIONS, { prompt, max_tokens: 2 }, headers));
        return answer.usage?.prompt_tokens_details.cached_tokens ?? 0;
      };
      expect(await cached({})).toBe(0);
      expect(await cached({})).toBeGreaterThanOrEqual(face.core.info.identity.blockTokens);
      expect(await cached({ 'x-sluice-salt': 'tenant-b' })).toBe(0);
    });

    it('serves the official client: chat, stream, usage', async () => {
      const messages = [{ role: 'user' as const, content: promptOf(5, 'chat') }];
      const request = { model, messages, max_tokens: 12, temperature: 0 };
      const answer = await client.chat.completions.create(request);
      expect(answer.choices[0]?.message).toMatchObject({ role: 'assistant', content: expect.any(String) });
      expect(answer.usage?.completion_tokens).toBeLessThanOrEqual(12);
      let text = '';
      let usage: unknown = null;
      let role: string | undefined;
      for await (const chunk of await client.chat.completions.create({
        ...request,
        stream: true,
        stream_options: { include_usage: true },
      })) {
        role ??= chunk.choices[0]?.delta.role;
        text += chunk.choices[0]?.delta.content ?? '';
        usage = chunk.usage ?? usage;
      }
      expect({ role, text }).toEqual({ role: 'assistant', text: answer.choices[0]?.message.content });
      expect(usage).toEqual({ ...answer.usage, prompt_tokens_details: expect.anything() });
      expect((await client.models.list()).data[0]).toMatchObject({ id: model, object: 'model' });
    });

    it('gives log-probabilities in both shapes', async () => {
      const messages = [{ role: 'user' as const, content: 'score me' }];
      const chat = await client.chat.completions.create({
        model,
        messages,
        max_tokens: 3,
        logprobs: true,
        top_logprobs: 2,
        temperature: 0,
      });
      const content = chat.choices[0]?.logprobs?.content ?? [];
      expect(content.length).toBeGreaterThan(0);
      for (const entry of content) {
        expect(entry.logprob).toBeLessThanOrEqual(0);
        expect(entry.top_logprobs).toHaveLength(2);
        expect(entry.bytes).toBeInstanceOf(Array);
      }
      const plain = await client.completions.create({ model, prompt: 'score me', max_tokens: 3, logprobs: 2, temperature: 0 });
      const logprobs = plain.choices[0]?.logprobs;
      expect(logprobs?.tokens).toHaveLength(plain.usage?.completion_tokens ?? 0);
      expect(logprobs?.text_offset?.[0]).toBe(0);
    });

    it('cancels what a client abandons', async () => {
      const controller = new AbortController();
      const body = { model, prompt: promptOf(10, 'abort'), max_tokens: 1000, stream: true as const };
      const streamed = await client.completions.create(body, { signal: controller.signal });
      for await (const chunk of streamed) {
        if (chunk.choices.length > 0) break;
      }
      controller.abort();
      await idle(face);
      expect(face.core.load()).toMatchObject({ contextTokens: 0, pendingPrefillTokens: 0 });
    });

    it('raises the classes of errors that the official client knows', async () => {
      await expect(client.completions.create({ model: 'gpt-9', prompt: 'a' })).rejects.toBeInstanceOf(OpenAI.NotFoundError);
      await expect(client.completions.create({ model, prompt: 'a', temperature: 9 })).rejects.toBeInstanceOf(OpenAI.BadRequestError);
    });

    it.each(BAD_INPUT)('refuses %s', async (_what, path, body, expected) => {
      const response = await post(face, path, typeof body === 'string' ? body.replace('MODEL', model) : body);
      const { error } = await jsonOf<Refusal>(response);
      expect({ status: response.status, code: error.code, param: error.param }).toEqual({
        status: expected.status,
        code: expected.code,
        param: expected.param,
      });
      expect(error.message).toMatch(expected.says);
    });

    it.each(BAD_HEADERS)('refuses %s: %s', async (header, value) => {
      const response = await post(face, COMPLETIONS, { prompt: 'a' }, { [header]: value });
      const { error } = await jsonOf<Refusal>(response);
      expect(response.status).toBe(400);
      expect(error.param).toContain(header);
    });

    it('refuses what does not fit the context, with the numbers', async () => {
      const { contextTokens } = face.core.info;
      const long = await post(face, COMPLETIONS, { prompt: Array.from({ length: contextTokens + 1 }, () => 3) });
      expect((await jsonOf<Refusal>(long)).error).toMatchObject({
        code: 'context_length_exceeded',
        message: expect.stringContaining(String(contextTokens + 1)),
      });
      const wide = await post(face, COMPLETIONS, { prompt: [3, 4], max_tokens: contextTokens });
      expect(wide.status).toBe(400);
      expect((await jsonOf<Refusal>(wide)).error).toMatchObject({ code: 'context_length_exceeded', param: 'max_tokens' });
    });

    it('refuses bodies that are no UTF-8 or too large, and unknown paths and methods', async () => {
      const bytes = new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]);
      const utf8 = await post(face, COMPLETIONS, bytes);
      expect((await jsonOf<Refusal>(utf8)).error).toMatchObject({ code: 'invalid_json', message: expect.stringContaining('UTF-8') });
      const large = await post(face, COMPLETIONS, 'x'.repeat(10 * 1024 * 1024 + 1));
      expect(large.status).toBe(413);
      expect((await jsonOf<Refusal>(large)).error.code).toBe('body_too_large');
      const nowhere = await post(face, '/v1/nowhere', {});
      expect([nowhere.status, (await jsonOf<Refusal>(nowhere)).error.code]).toEqual([404, 'not_found']);
      const get = await fetch(`${face.url}${COMPLETIONS}`);
      expect([get.status, get.headers.get('allow')]).toEqual([405, 'POST']);
    });

    it('gives up at the deadline before the first byte, with 504 and nothing left behind', async () => {
      const body = { prompt: promptOf(150, 'late'), max_tokens: 64 };
      for (const headers of [{}, { 'x-sluice-leg': 'prefill' }]) {
        const response = await post(face, COMPLETIONS, body, { 'x-sluice-deadline-ms': '1', ...headers });
        expect([response.status, (await jsonOf<Refusal>(response)).error.code]).toEqual([504, 'deadline_exceeded']);
      }
      await idle(face);
      expect(face.core.load().leases).toBe(0);
    });

    it('echoes the request id and takes id and time of the answer from the router', async () => {
      const headers = { 'x-request-id': 'req-77', 'x-sluice-created': '1700000000' };
      const response = await post(face, COMPLETIONS, { prompt: 'a', max_tokens: 1 }, headers);
      expect(response.headers.get('x-request-id')).toBe('req-77');
      expect(await jsonOf<Answer>(response)).toMatchObject({ id: 'cmpl-req-77', created: 1700000000 });
      const refused = await post(face, COMPLETIONS, { prompt: 'a', n: 3 }, headers);
      expect(refused.headers.get('x-request-id')).toBe('req-77');
    });

    it('tells what it is, what it counts and how text becomes tokens', async () => {
      const { info } = face.core;
      expect(await jsonOf(await fetch(`${face.url}/sluice/info`))).toEqual(JSON.parse(JSON.stringify(info)));
      expect((await fetch(`${face.url}/health`)).status).toBe(200);
      const models = await jsonOf<{ data: Json[] }>(await fetch(`${face.url}/v1/models`));
      expect(models.data[0]).toMatchObject({ simulated: info.simulated, max_model_len: info.contextTokens });
      const tokenized = await jsonOf<{ count: number; tokens: number[] }>(await post(face, '/tokenize', { prompt: 'one two three' }));
      expect(tokenized.tokens).toEqual([...face.core.tokenizer.encode('one two three')]);
      expect(tokenized.count).toBe(tokenized.tokens.length);
      const metrics = await (await fetch(`${face.url}/metrics`)).text();
      for (const name of [
        'vllm:num_requests_running',
        'vllm:time_to_first_token_seconds_bucket',
        'vllm:prefix_cache_hits_total',
        'process_resident_memory_bytes',
      ]) {
        expect(metrics).toContain(`\n${name}`);
      }
      expect(metrics).toMatch(
        new RegExp(`vllm:request_success_total\\{finished_reason="length",model_name="${model}",engine="0"\\} [1-9]`),
      );
    });

    it('tells subscribers a snapshot, the load, and every event after it without holes', async () => {
      const controller = new AbortController();
      const response = await fetch(`${face.url}/sluice/events`, { signal: controller.signal });
      const lines: { type: string; seq?: number; event?: { type: string; keys?: string[] } }[] = [];
      const reading = (async () => {
        let rest = '';
        for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
          const parts = (rest + chunk).split('\n');
          rest = parts.pop() ?? '';
          lines.push(...parts.map((line) => JSON.parse(line)));
        }
      })();
      const ended = reading.catch((thrown: unknown) => thrown);
      await until(() => lines.length >= 2, 'snapshot and load');
      expect(lines.slice(0, 2).map(({ type }) => type)).toEqual(['snapshot', 'load']);
      const snapshotSeq = lines[0]?.seq ?? 0;
      await whole({ prompt: promptOf(60, 'events'), max_tokens: 2 });
      await until(() => lines.some(({ event }) => event?.type === 'stored'), 'a stored event');
      const seqs = lines.filter(({ type }) => type === 'event').map(({ seq }) => seq ?? 0);
      expect(seqs).toEqual(seqs.map((_, index) => snapshotSeq + 1 + index));
      controller.abort();
      expect(await ended).toMatchObject({ name: 'AbortError' });
    });

    it('carries on with the others when one of many streams leaves', async () => {
      const bodies = Array.from({ length: 6 }, (_, index) => ({ prompt: promptOf(12 + index, `many${index}`), max_tokens: 20, ...SEEDED }));
      const alone: string[] = [];
      for (const body of bodies) alone.push((await stream(face, COMPLETIONS, body)).text);
      const controller = new AbortController();
      const leaver = fetch(`${face.url}${COMPLETIONS}`, {
        method: 'POST',
        body: JSON.stringify({ model, prompt: promptOf(20, 'leaver'), max_tokens: 500, stream: true }),
        signal: controller.signal,
      });
      const together = Promise.all(bodies.map((body) => stream(face, COMPLETIONS, body)));
      await leaver;
      controller.abort();
      expect((await together).map(({ text }) => text)).toEqual(alone);
      await idle(face);
    });
  });

  describe(`${name}: the end of an engine`, () => {
    it('drains: running streams end, new ones are refused, leases are waited for', async () => {
      const face = await makeCore('drained', 'mixed').then(startFace);
      try {
        const body = { prompt: promptOf(40, 'drain'), max_tokens: 32, ...SEEDED };
        const { ticket } = await prefill(face, body);
        const running = await post(face, COMPLETIONS, { ...body, stream: true });
        expect((await post(face, '/sluice/drain', {})).status).toBe(202);
        const refused = await post(face, COMPLETIONS, body);
        expect([refused.status, (await jsonOf<Refusal>(refused)).error.code]).toEqual([503, 'unavailable']);
        expect(parseStream(await running.text(), null)).toMatchObject({ done: true, finish: 'length' });
        let drained = false;
        const draining = face.core.drain().then(() => {
          drained = true;
        });
        await until(() => face.core.load().running === 0, 'streams ended');
        expect(drained).toBe(false);
        face.core.releaseLease(ticket.lease);
        await draining;
      } finally {
        await face.close();
      }
    });

    it('ends running streams with an error event and no [DONE] when it is closed', async () => {
      const face = await makeCore('closed', 'mixed').then(startFace);
      const response = await post(face, COMPLETIONS, { prompt: 'a', max_tokens: 1000, ignore_eos: true, stream: true });
      const [text] = await Promise.all([response.text().catch((thrown: unknown) => thrown), face.close()]);
      // The connection is destroyed after the error event, which a client may see as a failed read.
      if (typeof text === 'string') expect(parseStream(text, null)).toMatchObject({ done: false });
      else expect(text).toBeInstanceOf(Error);
    });

    it('may be closed again', async () => {
      const core = await makeCore('again', 'mixed');
      await Promise.all([core.close(), core.close()]);
      await core.close();
    });
  });
}
