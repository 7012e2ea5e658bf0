/** Bad input by plain HTTP: each an exact error in OpenAI's shape, and the router goes on. */
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Bed, MODEL, startBed } from './router-fixture.ts';

let bed: Bed;

beforeAll(async () => {
  bed = await startBed({ mixed: 1, config: { limits: { bodyBytes: 100_000 }, saltHeader: 'x-tenant-id' } });
});

afterAll(async () => {
  await bed.nothingLeft();
  await bed.close();
});

interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly param: string | null;
  readonly message: RegExp;
}

async function refusal(init: RequestInit, path = '/v1/completions'): Promise<unknown> {
  const answer = await fetch(`${bed.router.url}${path}`, { signal: AbortSignal.timeout(10_000), ...init });
  expect(answer.headers.get('content-type')).toContain('application/json');
  const { error } = (await answer.json()) as { error: { message: string; type: string; code: string; param: string | null } };
  return { status: answer.status, code: error.code, param: error.param, message: error.message };
}

function post(body: string | Buffer, headers: Readonly<Record<string, string>> = {}): RequestInit {
  return {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : new Uint8Array(body),
  };
}

function completion(change: object): RequestInit {
  return post(JSON.stringify({ model: MODEL, prompt: 'a', ...change }));
}

function bad(param: string | null, message: RegExp, code = 'invalid_request', status = 400): Refusal {
  return { status, code, param, message };
}

const CASES: readonly [string, () => RequestInit, Refusal][] = [
  ['no body', () => ({ method: 'POST' }), bad(null, /not valid JSON/, 'invalid_json')],
  ['half a body', () => post('{"model":'), bad(null, /not valid JSON/, 'invalid_json')],
  ['invalid UTF-8', () => post(Buffer.from([0x7b, 0x22, 0xc3, 0x28, 0x22, 0x7d])), bad(null, /not valid UTF-8/, 'invalid_json')],
  ['NaN', () => post(`{"model":"${MODEL}","prompt":"a","temperature":NaN}`), bad(null, /not valid JSON/, 'invalid_json')],
  ['an array', () => post('[1]'), bad(null, /must be a JSON object; got \[1\]/)],
  ['no model', () => post('{"prompt":"a"}'), bad('model', /`model` must be a string; it is missing/)],
  ['an unknown model', () => completion({ model: 'gpt-9' }), bad('model', /"gpt-9".*served here: "sim-model"/, 'model_not_found', 404)],
  ['no prompt', () => completion({ prompt: undefined }), bad('prompt', /`prompt` must be/)],
  ['a prompt that is a number', () => completion({ prompt: 7 }), bad('prompt', /got 7/)],
  ['a batch', () => completion({ prompt: ['a', 'b'] }), bad('prompt', /batches are not supported/, 'unsupported_parameter')],
  ['a token that is out of range', () => completion({ prompt: [1, 99_999_999] }), bad('prompt[1]', /99999999/)],
  ['negative max_tokens', () => completion({ max_tokens: -1 }), bad('max_tokens', /got -1/)],
  ['a huge max_tokens', () => completion({ max_tokens: 1e300 }), bad('max_tokens', /got 1e\+300/)],
  ['a temperature of the wrong type', () => completion({ temperature: 'hot' }), bad('temperature', /got "hot"/)],
  ['a stream flag that is a word', () => completion({ stream: 'yes' }), bad('stream', /got "yes"/)],
  ['two choices', () => completion({ n: 2 }), bad('n', /only 1 is supported/, 'unsupported_parameter')],
  ['tools', () => completion({ tools: [{}] }), bad('tools', /does not support/, 'unsupported_parameter')],
  ['more than the context', () => completion({ prompt: 'abcd'.repeat(9000) }), bad('prompt', /context window/, 'context_length_exceeded')],
  ['a large body', () => post(`{"x":"${'a'.repeat(100_000)}"}`), bad(null, /larger than 100000 bytes/, 'body_too_large', 413)],
  ['a tenant that cannot be one', () => post('{}', { 'x-tenant-id': 'two words' }), bad(null, /./)],
];

describe('bad input', () => {
  it.each(CASES)('%s', async (what, init, { status, code, param, message }) => {
    const got = await refusal(init());
    if (what.startsWith('a tenant')) expect(got).toMatchObject({ status: 400 });
    else expect(got).toEqual({ status, code, param, message: expect.stringMatching(message) });
  });

  it.each([
    ['GET', '/v1/completions', 405, 'method_not_allowed'],
    ['DELETE', '/v1/models', 405, 'method_not_allowed'],
    ['POST', '/metrics', 405, 'method_not_allowed'],
    ['POST', '/v1/embeddings', 404, 'not_found'],
    ['GET', '/admin/instances', 404, 'not_found'],
    ['GET', '/sluice/info', 404, 'not_found'],
  ])('%s %s', async (method, path, status, code) => {
    expect(await refusal({ method }, path)).toMatchObject({ status, code });
  });

  it('messages that are none', async () => {
    for (const messages of [undefined, [], 'hi', [{ role: 'wizard', content: 'a' }], [{ role: 'user', content: 7 }]]) {
      expect(await refusal(post(JSON.stringify({ model: MODEL, messages })), '/v1/chat/completions')).toMatchObject({ status: 400 });
    }
  });

  it('a tenant header that cannot be a salt names the header', async () => {
    const headers = { 'x-tenant-id': 'two words' };
    const init = post(JSON.stringify({ model: MODEL, prompt: 'a' }), headers);
    expect(await refusal(init)).toMatchObject({ status: 400, code: 'invalid_request', param: 'x-tenant-id' });
  });
});

/** Sends raw bytes and collects what comes until the connection ends. */
function raw(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(bed.router.url);
    const socket = connect(Number(port), hostname, () => socket.write(text));
    let got = '';
    socket.on('data', (bytes) => {
      got += bytes.toString();
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(got));
  });
}

describe('bad HTTP', () => {
  it('a body that is announced too large is refused before it comes', async () => {
    const head = `POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99999999\r\n\r\n`;
    const got = await raw(head);
    expect(got).toMatch(/^HTTP\/1\.1 413 /);
    expect(got).toMatch(/connection: close/i);
  });

  it('both kinds of framing, and nonsense, are refused', async () => {
    const both = 'POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n';
    expect(await raw(both)).toMatch(/^HTTP\/1\.1 400 /);
    expect(await raw('hello\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /);
  });

  it('header values of a client never reach an engine as lines of their own', async () => {
    const answer = await bed.post('/v1/completions', { model: MODEL, prompt: 'a', max_tokens: 1 }, { 'x-request-id': 'a b{"}' });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
  });

  it('goes on after all of this', async () => {
    const answer = await bed.post('/v1/completions', { model: MODEL, prompt: 'a', max_tokens: 1 });
    expect(answer.status).toBe(200);
  });
});

describe('tenants', () => {
  it('do not share KV', async () => {
    const prompt = 'A text that is long enough for several blocks, shared word by word by two tenants. '.repeat(8);
    const cached = async (tenant: string) => {
      const answer = await bed.post('/v1/completions', { model: MODEL, prompt, max_tokens: 1 }, { 'x-tenant-id': tenant });
      const { usage } = (await answer.json()) as { usage: { prompt_tokens_details: { cached_tokens: number } } };
      return usage.prompt_tokens_details.cached_tokens;
    };
    expect(await cached('a')).toBe(0);
    expect(await cached('a')).toBeGreaterThan(0);
    expect(await cached('b')).toBe(0);
  });
});
