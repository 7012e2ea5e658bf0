import { createServer, type RequestListener, type Server } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { type StreamRequest, streamChat } from './stream.ts';

let server: Server | null = null;
afterEach(() => {
  server?.close();
  server?.closeAllConnections();
});

async function serve(listener: RequestListener): Promise<string> {
  const created = createServer(listener);
  server = created;
  await new Promise<void>((resolve) => {
    created.listen(0, '127.0.0.1', resolve);
  });
  const address = created.address();
  return `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`;
}

function request(baseUrl: string, change: Partial<StreamRequest> = {}): StreamRequest {
  return {
    baseUrl,
    requestId: 'r',
    model: 'm',
    messages: [],
    maxTokens: 3,
    temperature: 0,
    seed: 1,
    cancelAfter: null,
    timeoutMs: 5_000,
    ...change,
  };
}

const event = (value: object) => `data: ${JSON.stringify(value)}\n\n`;
const delta = (content: string, finish: string | null = null) => event({ choices: [{ delta: { content }, finish_reason: finish }] });

describe('streamChat', () => {
  it('puts the text together, whatever the pieces, and takes usage and reason from the stream', async () => {
    const text = [
      delta(''),
      delta('a'),
      delta('ü'),
      delta('', 'length'),
      event({ choices: [], usage: { completion_tokens: 7 } }),
      'data: [DONE]\n\n',
    ];
    const url = await serve((_request, response) => {
      const bytes = Buffer.from(text.join(''));
      for (let at = 0; at < bytes.length; at += 5) response.write(bytes.subarray(at, at + 5));
      response.end();
    });
    const result = await streamChat(request(url));
    expect(result).toMatchObject({ text: 'aü', finishReason: 'length', outputTokens: 7, error: null });
    expect(result.ttftMs).toBeGreaterThan(0);
  });

  it('goes away after the events it was told to read', async () => {
    let gone = false;
    const url = await serve((_request, response) => {
      response.write(delta('a') + delta('b'));
      response.on('close', () => {
        gone = true;
      });
    });
    expect(await streamChat(request(url, { cancelAfter: 2 }))).toMatchObject({ text: 'ab', finishReason: 'cancelled', error: null });
    await expect.poll(() => gone).toBe(true);
  });

  it('tells errors of the answer, of the stream and of the connection', async () => {
    const refused = await serve((_request, response) => {
      response.statusCode = 503;
      response.end('busy');
    });
    expect(await streamChat(request(refused))).toMatchObject({ error: 'HTTP 503: busy', text: '', ttftMs: null });
    const broken = await serve((_request, response) => {
      response.write(delta('a'));
      response.end(event({ error: { message: 'lost' } }));
    });
    expect(await streamChat(request(broken))).toMatchObject({ error: 'lost', text: 'a', finishReason: null });
    const silent = await serve(() => {});
    expect((await streamChat(request(silent, { timeoutMs: 50 }))).error).toBe('no end within 0.05 s');
  });
});
