import { createServer, type RequestListener } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { evenArrivals, poissonArrivals, seededRandom } from './arrivals.ts';
import { completionBody, FRESH_MARK, promptSet } from './bodies.ts';
import { Children } from './children.ts';
import { LoadGenerator } from './load.ts';
import type { LoadJob } from './load-job.ts';
import { logUniform, randomTokens } from './tokens.ts';

describe('arrivals', () => {
  it('spaces evenly', () => {
    expect(evenArrivals(4, 1)).toEqual([0, 250, 500, 750]);
  });

  it('is Poisson with the rate asked for, and repeats for a seed', () => {
    const times = poissonArrivals(50, 200, seededRandom(7));
    expect(times).toEqual(poissonArrivals(50, 200, seededRandom(7)));
    expect(times).not.toEqual(poissonArrivals(50, 200, seededRandom(8)));
    expect(Math.abs(times.length - 10_000)).toBeLessThan(400);
    const gaps = times.map((time, index) => time - (times[index - 1] ?? 0));
    const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
    const variance = gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length;
    // Exponential gaps: deviation equals mean.
    expect(Math.sqrt(variance) / mean).toBeCloseTo(1, 1);
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(0);
  });
});

describe('bodies', () => {
  it('shares beginnings, differs in the rest, and has the length asked for', () => {
    const prompts = promptSet({ prefixes: 4, prefixLength: 100, length: 180, count: 16 }, false, seededRandom(1));
    expect(new Set(prompts).size).toBe(16);
    expect(new Set(prompts.map((prompt) => prompt.slice(0, 100))).size).toBe(4);
    expect(prompts.every((prompt) => prompt.length === 180)).toBe(true);
  });

  it('puts the mark right after the shared beginning', () => {
    const [prompt] = promptSet({ prefixes: 1, prefixLength: 100, length: 180, count: 1 }, true, seededRandom(1));
    expect(prompt?.indexOf(FRESH_MARK)).toBe(100);
    expect(prompt).toHaveLength(180);
  });

  it('draws lengths and tokens within their range', () => {
    const random = seededRandom(3);
    const lengths = Array.from({ length: 2000 }, () => logUniform(64, 2000, random));
    expect(Math.min(...lengths)).toBeGreaterThanOrEqual(64);
    expect(Math.max(...lengths)).toBeLessThanOrEqual(2000);
    const short = lengths.filter((length) => length < 358).length / lengths.length;
    expect(short).toBeCloseTo(0.5, 1);
    expect(randomTokens(500, random).every((token) => token >= 16 && token < 256)).toBe(true);
  });
});

describe('LoadGenerator', () => {
  let children: Children;
  let closeServer: () => void;
  const bodies: string[] = [];

  async function serve(listener: RequestListener): Promise<number> {
    const server = createServer((request, response) => {
      let body = '';
      request.on('data', (part: Buffer) => {
        body += part.toString();
      });
      request.on('end', () => {
        bodies.push(body);
        listener(request, response);
      });
    });
    closeServer = () => {
      server.closeAllConnections();
      server.close();
    };
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    return address.port;
  }

  async function run(port: number, job: Partial<LoadJob>) {
    const generator = await LoadGenerator.start(children, null);
    const body = completionBody({ model: 'm', maxTokens: 1, stream: job.stream ?? false }, `${FRESH_MARK} hello`);
    const shape = { kind: 'open', arrivalsMs: evenArrivals(100, 0.2), maxConnections: 4 } as const;
    return generator.run({
      host: '127.0.0.1',
      ports: [port],
      path: '/',
      bodies: [body],
      stream: false,
      shape,
      patienceMs: 2000,
      detail: true,
      ...job,
    });
  }

  beforeEach(() => {
    children = new Children();
    bodies.length = 0;
  });
  afterEach(async () => {
    closeServer();
    await children.stopAll();
  });

  it('sends every planned request once, each body fresh', async () => {
    const port = await serve((_, response) => response.end('{"choices":[{"text":"x"}]}'));
    const result = await run(port, {});
    expect([result.completed, result.errors, result.answers.length]).toEqual([20, 0, 20]);
    expect(new Set(bodies).size).toBe(20);
    expect(bodies[0]).not.toContain(FRESH_MARK);
  });

  it('counts what a slow server does to later requests: latency is from the planned time', async () => {
    let first = true;
    const port = await serve((_, response) => {
      const wait = first ? 150 : 0;
      first = false;
      setTimeout(() => response.end('{"choices":[]}'), wait);
    });
    const shape = { kind: 'open', arrivalsMs: evenArrivals(100, 0.1), maxConnections: 1 } as const;
    const result = await run(port, { shape });
    // One connection: the ten requests planned 10 ms apart all wait for the first answer.
    expect(result.completed).toBe(10);
    expect(Math.min(...result.answers.map((answer) => answer.latencyMs))).toBeGreaterThan(50);
  });

  it('times and counts the tokens of streams', async () => {
    const port = await serve((_, response) => {
      response.write('data: {"choices":[{"text":"a"}]}\n\n');
      setTimeout(() => response.end('data: {"choices":[{"text":"b"}]}\n\ndata: [DONE]\n\n'), 20);
    });
    const result = await run(port, { stream: true, shape: { kind: 'closed', connections: 2, seconds: 0.1 } });
    expect(result.errors).toBe(0);
    expect(result.tokens).toBe(result.completed * 2);
    expect(result.tpotMs.p50).toBeGreaterThan(15);
    expect(result.ttftMs.p50).toBeLessThan(result.latencyMs.p50);
  });

  it.each([
    { what: 'an error status', body: '{"error":{}}', status: 500, stream: false, reason: 'status 500' },
    { what: 'an answer without choices', body: '{}', status: 200, stream: false, reason: 'no choices' },
    { what: 'a cut stream', body: 'data: {"choices":[{"text":"a"}]}\n\n', status: 200, stream: true, reason: 'stream without [DONE]' },
    { what: 'a stream of nothing', body: 'data: [DONE]\n\n', status: 200, stream: true, reason: 'stream without a token' },
    { what: 'an error event', body: 'data: {"error":{"code":"x"}}\n\ndata: [DONE]\n\n', status: 200, stream: true, reason: 'error event' },
  ])('counts $what as an error', async ({ body, status, stream, reason }) => {
    const port = await serve((_request, response) => response.writeHead(status).end(body));
    const result = await run(port, { stream });
    expect([result.completed, result.errors]).toEqual([0, 20]);
    expect(result.errorExamples[0]).toContain(reason);
  });

  it('does not wait for a server that never answers', async () => {
    const port = await serve(() => undefined);
    const result = await run(port, { patienceMs: 100 });
    expect([result.completed, result.errors, result.errorExamples]).toEqual([0, 20, ['no whole answer in time']]);
  });
});
