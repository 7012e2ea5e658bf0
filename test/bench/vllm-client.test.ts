import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Outcome, streamCompletion } from './vllm-client.ts';

const NEVER = new AbortController().signal;

let server: Server;
let url = '';
let status = 200;
let parts: string[] = [];
let ends = true;

beforeEach(async () => {
  status = 200;
  ends = true;
  server = createServer((_, response) => {
    response.writeHead(status, { 'content-type': 'text/event-stream' });
    for (const part of parts) response.write(part);
    if (ends) response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
});

function token(text: string, finish: string | null = null): string {
  return `data: ${JSON.stringify({ choices: [{ index: 0, text, finish_reason: finish }] })}\n\n`;
}

const USAGE = `data: ${JSON.stringify({ choices: [], usage: { prompt_tokens: 7, completion_tokens: 3 } })}\n\n`;
const DONE = 'data: [DONE]\n\n';

function ask(tokens = 3, signal = NEVER): Promise<Outcome> {
  return streamCompletion({ url, body: '{}', tokens }, signal);
}

describe('streamCompletion', () => {
  it('reads a whole answer, events cut anywhere, tokens without text included', async () => {
    const stream = token('a') + token('') + token('é', 'length') + USAGE + DONE;
    parts = Array.from({ length: stream.length }, (_, at) => stream.slice(at, at + 1));
    const outcome = await ask();
    expect(outcome).toMatchObject({ kind: 'answered', text: 'aé', tokens: 3, promptTokens: 7 });
    if (outcome.kind === 'answered') expect(outcome.tpotMs).toBeGreaterThanOrEqual(0);
  });

  it.each([
    ['an error event as vLLM sends it', [token('a'), 'data: {"error": {"message": "Internal server error"}}\n\n', DONE], 'error event'],
    ['a stream that stops', [token('a')], 'without [DONE]'],
    ['an abort that nobody asked for', [token('a', 'abort'), USAGE, DONE], 'finish_reason "abort"'],
    [
      'tokens that are missing',
      [token('a'), token('b', 'length'), USAGE.replace('"completion_tokens":3', '"completion_tokens":2'), DONE],
      '2 tokens',
    ],
  ])('refuses %s', async (_, stream, reason) => {
    parts = stream;
    const outcome = await ask();
    expect(outcome.kind).toBe('failed');
    if (outcome.kind === 'failed') expect(outcome.reason).toContain(reason);
  });

  it('refuses other statuses, with what they say', async () => {
    status = 500;
    parts = ['Transparent proxy request failed'];
    expect(await ask()).toEqual({ kind: 'failed', reason: 'status 500: Transparent proxy request failed' });
  });

  it('says so when nobody listens, and when the time is over', async () => {
    ends = false;
    parts = [token('a')];
    const late = new AbortController();
    const asked = ask(3, late.signal);
    late.abort();
    expect(await asked).toEqual({ kind: 'failed', reason: 'not answered in time' });
    const gone = await streamCompletion({ url: 'http://127.0.0.1:1', body: '{}', tokens: 1 }, NEVER);
    expect(gone.kind).toBe('failed');
  });
});
