import { createServer, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { type Clock, FakeClock, systemClock } from '../../shared/index.ts';
import type { ResponseSink, UpstreamFailure } from './connection.ts';
import { fetchBuffered } from './fetch.ts';
import type { ResponseHead } from './head.ts';
import { Pool } from './pool.ts';

const GET = 'GET / HTTP/1.1\r\nhost: test\r\n\r\n';
const servers: Server[] = [];
const pools: Pool[] = [];

afterEach(() => {
  for (const pool of pools.splice(0)) pool.close();
  for (const server of servers.splice(0)) server.close();
});

/** A server that does with each connection's requests what `answer` says. */
async function serve(answer: (socket: Socket, nth: number) => void): Promise<{ port: number; connections: () => number }> {
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    const nth = connections;
    socket.on('error', () => undefined); // a test may break it on purpose
    socket.on('data', () => answer(socket, nth));
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no address');
  return { port: address.port, connections: () => connections };
}

function poolTo(port: number, options: { maxConnections?: number; maxIdle?: number; connectTimeoutMs?: number; clock?: Clock } = {}): Pool {
  const limits = { connectTimeoutMs: 1000, maxConnections: 8, maxIdle: 8, ...options };
  const pool = new Pool({ host: '127.0.0.1', port, clock: systemClock, ...limits });
  pools.push(pool);
  return pool;
}

class Recorder implements ResponseSink {
  headSeen: ResponseHead | null = null;
  body = '';
  flushes = 0;
  ended = 0;
  failures: UpstreamFailure[] = [];
  readonly over: Promise<void>;
  readonly begun: Promise<void>;
  #resolve: () => void = () => undefined;
  #begin: () => void = () => undefined;
  onData: () => void = () => undefined;

  constructor() {
    this.over = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.begun = new Promise((resolve) => {
      this.#begin = resolve;
    });
  }

  head(head: ResponseHead): void {
    this.headSeen = head;
  }

  data(piece: Buffer): void {
    this.body += piece.toString('latin1');
    this.#begin();
    this.onData();
  }

  flush(): void {
    this.flushes += 1;
  }

  end(): void {
    this.ended += 1;
    this.#resolve();
  }

  fail(failure: UpstreamFailure): void {
    this.failures.push(failure);
    this.#resolve();
  }
}

const fetchOptions = { clock: systemClock, timeoutMs: 2000, maxBytes: 1000 };

describe('Pool', () => {
  it('uses one connection for requests one after the other', async () => {
    const { port, connections } = await serve((socket) => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi'));
    const pool = poolTo(port);
    for (let count = 0; count < 3; count += 1) {
      const answer = await fetchBuffered(pool, GET, null, fetchOptions);
      expect(answer.body.toString()).toBe('hi');
    }
    expect(connections()).toBe(1);
    expect(pool.busy).toBe(0);
  });

  it('reads a head and body that come byte by byte', async () => {
    const text = 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n';
    const { port } = await serve((socket) => {
      socket.setNoDelay(true);
      const send = (at: number) => {
        if (at < text.length) socket.write(text[at] ?? '', () => setImmediate(send, at + 1));
      };
      send(0);
    });
    const sink = new Recorder();
    poolTo(port).request(GET, null, sink);
    await sink.over;
    expect(sink.body).toBe('abcde');
    expect(sink.ended).toBe(1);
    expect(sink.failures).toEqual([]);
  });

  it('sends the body after the head', async () => {
    const seen: Buffer[] = [];
    const server = createServer((socket) => {
      socket.on('data', (data) => {
        seen.push(data);
        if (Buffer.concat(seen).toString().endsWith('payload')) socket.write('HTTP/1.1 204 No Content\r\n\r\n');
      });
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address() as { port: number };
    const answer = await fetchBuffered(
      poolTo(address.port),
      'POST / HTTP/1.1\r\ncontent-length: 7\r\n\r\n',
      Buffer.from('payload'),
      fetchOptions,
    );
    expect(answer.status).toBe(204);
    expect(Buffer.concat(seen).toString()).toBe('POST / HTTP/1.1\r\ncontent-length: 7\r\n\r\npayload');
  });

  it('replaces a connection that died while it lay idle, once', async () => {
    const { port, connections } = await serve((socket, nth) => {
      if (nth === 1 && socket.bytesRead > GET.length) socket.destroy();
      else socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx');
    });
    const pool = poolTo(port);
    await fetchBuffered(pool, GET, null, fetchOptions);
    const answer = await fetchBuffered(pool, GET, null, fetchOptions);
    expect(answer.status).toBe(200);
    expect(connections()).toBe(2);
  });

  it('does not send again what broke long after it was sent: it had begun', async () => {
    const clock = new FakeClock();
    let breaks: () => void = () => undefined;
    const { port, connections } = await serve((socket, nth) => {
      if (asked++ === 0) return void socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok');
      if (nth > 1) return void socket.write('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nagain');
      breaks = () => socket.destroy();
      arrived();
    });
    let asked = 0;
    let arrived: () => void = () => undefined;
    const pool = poolTo(port, { clock });
    const first = new Recorder();
    pool.request(GET, null, first);
    await first.over;
    const there = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const second = new Recorder();
    pool.request(GET, null, second);
    await there;
    clock.advance(1_000);
    breaks();
    await second.over;
    expect([second.body, second.failures, connections()]).toEqual(['', [{ kind: 'lost', message: expect.any(String) }], 1]);
  });

  it('does not send a request again once an answer had begun, or on a fresh connection', async () => {
    const { port, connections } = await serve((socket, nth) => {
      if (nth === 1) socket.end('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf');
      else socket.destroy();
    });
    const pool = poolTo(port);
    for (let count = 0; count < 2; count += 1) {
      const sink = new Recorder();
      pool.request(GET, null, sink);
      await sink.over;
      expect(sink.failures).toMatchObject([{ kind: 'lost' }]);
      expect(sink.ended).toBe(0);
    }
    expect(connections()).toBe(2);
    expect(pool.busy).toBe(0);
  });

  it.each([
    ['bytes after the answer', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n'],
    ['connection: close', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx'],
  ])('never reuses a connection with %s', async (_what, text) => {
    const { port, connections } = await serve((socket) => socket.write(text));
    const pool = poolTo(port);
    await fetchBuffered(pool, GET, null, fetchOptions);
    await fetchBuffered(pool, GET, null, fetchOptions);
    expect(connections()).toBe(2);
  });

  it.each([
    ['a malformed head', 'NOPE\r\n\r\n'],
    ['a malformed chunk', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n'],
    ['an upgrade', 'HTTP/1.1 101 Switching Protocols\r\n\r\n'],
    ['an endless head', `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(70_000)}`],
  ])('fails on %s', async (_what, text) => {
    const { port } = await serve((socket) => socket.write(text));
    const sink = new Recorder();
    const pool = poolTo(port);
    pool.request(GET, null, sink);
    await sink.over;
    expect(sink.failures).toMatchObject([{ kind: 'protocol' }]);
    expect(pool.busy).toBe(0);
  });

  it('says that nobody listens', async () => {
    const { port } = await serve(() => undefined);
    await new Promise((resolve) => servers.splice(0)[0]?.close(resolve));
    const sink = new Recorder();
    poolTo(port).request(GET, null, sink);
    await sink.over;
    expect(sink.failures).toEqual([{ kind: 'connect', message: 'ECONNREFUSED' }]);
  });

  it('does not take its own standstill for a connection that did not come', async () => {
    const { port } = await serve((socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'));
    const recorder = new Recorder();
    poolTo(port, { connectTimeoutMs: 20 }).request(GET, null, recorder);
    const end = performance.now() + 100;
    while (performance.now() < end);
    await recorder.over;
    expect(recorder).toMatchObject({ body: 'ok', ended: 1, failures: [] });
  });

  it('keeps to its bound of connections', async () => {
    const { port } = await serve(() => undefined);
    const pool = poolTo(port, { maxConnections: 1 });
    const leg = pool.request(GET, null, new Recorder());
    const sink = new Recorder();
    pool.request(GET, null, sink);
    await sink.over;
    expect(sink.failures).toMatchObject([{ kind: 'overload' }]);
    leg.abort();
    expect(pool.busy).toBe(0);
  });

  it('aborts in the middle: the engine sees the end, the sink hears nothing more', async () => {
    let closed: () => void = () => undefined;
    const gone = new Promise<void>((resolve) => {
      closed = resolve;
    });
    const { port } = await serve((socket) => {
      socket.on('close', closed);
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n');
    });
    const pool = poolTo(port);
    const sink = new Recorder();
    const leg = pool.request(GET, null, sink);
    sink.onData = () => leg.abort();
    await gone;
    expect(sink.body).toBe('a');
    expect([sink.flushes, sink.ended, sink.failures.length]).toEqual([0, 0, 0]);
    expect(pool.busy).toBe(0);
  });

  it('pauses the engine when told and goes on later', async () => {
    const total = 8 * 2 ** 20;
    const { port } = await serve((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${total}\r\n\r\n`);
      socket.write(Buffer.alloc(total, 97));
    });
    const sink = new Recorder();
    const leg = poolTo(port).request(GET, null, sink);
    let paused = 0;
    sink.onData = () => {
      if (paused > 0) return;
      leg.pause();
      paused = sink.body.length;
      setImmediate(() => setImmediate(() => leg.resume()));
    };
    await sink.over;
    expect(paused).toBeGreaterThan(0);
    expect(sink.body.length).toBe(total);
  });
});

describe('fetchBuffered', () => {
  it('gives up on a peer that accepts and never answers', async () => {
    const { port } = await serve(() => undefined);
    const pool = poolTo(port);
    await expect(fetchBuffered(pool, GET, null, { ...fetchOptions, timeoutMs: 30 })).rejects.toThrow('no answer in time');
    expect(pool.busy).toBe(0);
  });

  it('refuses an answer that is too large', async () => {
    const { port } = await serve((socket) => socket.write(`HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n${'x'.repeat(2000)}`));
    await expect(fetchBuffered(poolTo(port), GET, null, fetchOptions)).rejects.toThrow('more than 1000 bytes');
  });

  it('stops when cancelled', async () => {
    const { port } = await serve(() => undefined);
    const cancel = new AbortController();
    const answer = fetchBuffered(poolTo(port), GET, null, { ...fetchOptions, signal: cancel.signal });
    cancel.abort();
    await expect(answer).rejects.toThrow('cancelled');
  });
});
