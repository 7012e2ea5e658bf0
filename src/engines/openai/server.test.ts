import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { FakeClock, SluiceError, systemClock } from '../../shared/index.ts';
import { createEngineServer, type EngineServer, type EngineServerLimits } from './index.ts';
import { REPORT, ScriptedCore } from './scriptedcore.fixture.ts';

const open: { server: EngineServer; sockets: Socket[] }[] = [];

afterEach(async () => {
  for (const { server, sockets } of open.splice(0)) {
    for (const socket of sockets) socket.destroy();
    await server.close();
  }
});

async function start(core: ScriptedCore, limits: Partial<EngineServerLimits> = {}, clock = systemClock) {
  const complaints: string[] = [];
  const complain = (_fields: object, message: string) => void complaints.push(message);
  const server = createEngineServer({ core, logger: { info: () => {}, warn: complain, error: complain }, clock, limits });
  const { port, url } = await server.listen('127.0.0.1', 0);
  const sockets: Socket[] = [];
  open.push({ server, sockets });
  return {
    url,
    complaints,
    /** A raw connection, so that a test sees the very bytes and can refuse to read them. */
    raw: (path: string, body: string | null, headers = ''): Socket => {
      const socket = connect(port, '127.0.0.1');
      sockets.push(socket);
      const method = body === null ? 'GET' : 'POST';
      const length = body === null ? '' : `content-length: ${Buffer.byteLength(body)}\r\n`;
      socket.write(`${method} ${path} HTTP/1.1\r\nhost: x\r\n${length}${headers}\r\n${body ?? ''}`);
      return socket;
    },
  };
}

const BODY = JSON.stringify({ model: 'scripted', prompt: 'ab', max_tokens: 50, stream: true });

function reader(socket: Socket): { text: () => string; closed: Promise<void> } {
  let text = '';
  socket.setEncoding('utf8');
  socket.on('data', (chunk) => {
    text += String(chunk);
  });
  const closed = new Promise<void>((resolve) => {
    socket.on('close', () => resolve());
    socket.on('error', () => resolve());
  });
  return { text: () => text, closed };
}

async function until(holds: () => boolean): Promise<void> {
  const end = performance.now() + 5000;
  while (!holds()) {
    if (performance.now() > end) throw new Error('not within 5 s');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('a stream', () => {
  it('sends headers and first token together, one write per event, and token ids once', async () => {
    const core = new ScriptedCore();
    const { raw } = await start(core);
    const read = reader(raw('/v1/completions', BODY, 'x-sluice-tokens: 1\r\n'));
    await until(() => core.running !== null);
    expect(read.text()).toBe('');
    core.start(REPORT);
    core.token('h');
    await until(() => read.text().includes('"text":"h"'));
    expect(read.text()).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    // The first half of a character: its id waits for the event that has its text.
    core.bytes([0xc3]);
    core.bytes([0xa9]);
    core.token('y');
    core.end('length');
    await until(() => read.text().endsWith('0\r\n\r\n'));
    const lines = read
      .text()
      .split('\n')
      .filter((line) => line.startsWith(': ') || line.startsWith('data: {'));
    const texts = lines.filter((line) => line.startsWith('data')).map((line) => JSON.parse(line.slice(6)).choices[0].text);
    expect(texts).toEqual(['h', 'é', 'y', '']);
    expect(lines.filter((line) => line.startsWith(':'))).toEqual([': 104', ': 195,169', ': 121']);
  });

  it('goes on in the middle of a character and of a stop string after resumed tokens', async () => {
    const core = new ScriptedCore((sink) => {
      sink.start(REPORT);
      for (const byte of Buffer.from('ép stop!').subarray(1)) sink.token(byte, null);
    });
    const { url } = await start(core);
    const ids = [...Buffer.from('hé').subarray(0, 2)];
    const body = JSON.stringify({ model: 'scripted', prompt: 'ab', max_tokens: 50, stop: 'ép stop' });
    const response = await fetch(`${url}/v1/completions`, { method: 'POST', body, headers: { 'x-sluice-resume': ids.join(',') } });
    expect(await response.json()).toMatchObject({ choices: [{ text: '', finish_reason: 'stop' }], usage: { completion_tokens: 9 } });
    const held = JSON.stringify({ model: 'scripted', prompt: 'ab', max_tokens: 4, stop: 'hey' });
    const ended = new ScriptedCore((sink) => {
      sink.start(REPORT);
      sink.token('a'.charCodeAt(0), null);
      sink.end('length');
    });
    const other = await start(ended);
    const headers = { 'x-sluice-resume': [...Buffer.from('-he')].join(',') };
    const second = await fetch(`${other.url}/v1/completions`, { method: 'POST', body: held, headers });
    // '-' was sent before; 'he' was held back there and is given out here, once it can be no stop string.
    expect(await second.json()).toMatchObject({ choices: [{ text: 'hea' }] });
  });

  it('tells an error after the first byte inside the stream and destroys the connection without [DONE]', async () => {
    const core = new ScriptedCore();
    const { raw } = await start(core);
    const read = reader(raw('/v1/completions', BODY));
    await until(() => core.running !== null);
    core.start(REPORT);
    core.token('h');
    core.fail(new SluiceError('internal', 'broken'));
    await read.closed;
    expect(read.text()).toContain('data: {"error":{"message":"broken","type":"server_error","param":null,"code":"internal"}}\n\n');
    expect(read.text()).not.toContain('[DONE]');
    expect(read.text()).not.toContain('\r\n0\r\n\r\n');
  });

  it('gives an error before the first byte its status', async () => {
    const core = new ScriptedCore();
    const { raw } = await start(core);
    const read = reader(raw('/v1/completions', BODY));
    await until(() => core.running !== null);
    core.fail(new SluiceError('queue_full', 'full', { retryAfterSeconds: 2.1 }));
    await until(() => read.text().includes('}}'));
    expect(read.text()).toMatch(/^HTTP\/1\.1 429 [\s\S]*retry-after: 3\r\n/);
  });

  it('cancels the core when the client leaves, before and after the first token', async () => {
    for (const tokens of [0, 1]) {
      const core = new ScriptedCore();
      const { raw } = await start(core);
      const socket = raw('/v1/completions', BODY);
      await until(() => core.running !== null);
      if (tokens > 0) {
        core.start(REPORT);
        core.token('h');
      }
      socket.destroy();
      await until(() => core.cancelled === 1);
    }
  });

  it('cancels when the client does not read and the buffer is full', async () => {
    const core = new ScriptedCore();
    const { raw, complaints } = await start(core, { streamBufferedBytes: 64 * 1024 });
    const socket = raw('/v1/completions', BODY);
    socket.pause();
    await until(() => core.running !== null);
    core.start(REPORT);
    let sent = 0;
    while (core.cancelled === 0 && sent < 200_000) {
      core.token('x');
      sent += 1;
      if (sent % 1000 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(core.cancelled).toBe(1);
    expect(complaints).toEqual(['a client does not read its stream; the request is cancelled']);
  });

  it('fails with 504 at its deadline, and not after the first byte', async () => {
    const clock = new FakeClock();
    const core = new ScriptedCore();
    const { raw } = await start(core, {}, clock);
    const late = reader(raw('/v1/completions', BODY, 'x-sluice-deadline-ms: 100\r\n'));
    await until(() => core.running !== null);
    clock.advance(99);
    expect(core.cancelled).toBe(0);
    clock.advance(1);
    expect(core.cancelled).toBe(1);
    await until(() => late.text().includes('deadline_exceeded'));
    expect(late.text()).toMatch(/^HTTP\/1\.1 504 /);
    core.running = null;
    const intime = reader(raw('/v1/completions', BODY, 'x-sluice-deadline-ms: 100\r\n'));
    await until(() => core.running !== null);
    core.start(REPORT);
    core.token('h');
    clock.advance(500);
    core.token('i');
    core.end('stop');
    await until(() => intime.text().includes('[DONE]'));
  });

  it('takes a core that answers before it returns', async () => {
    const core = new ScriptedCore((sink) => {
      sink.start(REPORT);
      for (const letter of 'abcd') sink.token(letter.charCodeAt(0), null);
      sink.end('length');
    });
    const { url } = await start(core);
    const body = JSON.stringify({ model: 'scripted', prompt: 'x', stop: 'c' });
    const response = await fetch(`${url}/v1/completions`, { method: 'POST', body });
    expect(await response.json()).toMatchObject({ choices: [{ text: 'ab', finish_reason: 'stop' }], usage: { completion_tokens: 3 } });
    expect(core.cancelled).toBe(1);
  });

  it('says in headers what characters headers do not take', async () => {
    const handOff = { blocks: 0, bytes: 0, ms: 1, moveMs: 1, failed: 'peer: ✗\n' };
    const core = new ScriptedCore((sink) => {
      sink.start({ ...REPORT, handOff });
      sink.end('length');
    });
    const { url } = await start(core);
    const response = await fetch(`${url}/v1/completions`, { method: 'POST', body: BODY });
    expect(JSON.parse(response.headers.get('x-sluice-report') ?? '')).toMatchObject({ handOff });
    expect(await response.text()).toContain('[DONE]');
  });

  it('treats a cancellation that nobody asked for as a failure of the engine', async () => {
    const core = new ScriptedCore((sink) => sink.end('cancelled'));
    const { url } = await start(core);
    const response = await fetch(`${url}/v1/completions`, { method: 'POST', body: BODY });
    expect([response.status, await response.json()]).toMatchObject([503, { error: { code: 'unavailable' } }]);
  });
});

describe('bodies', () => {
  it('refuses kv_transfer_params without a dialect', async () => {
    const { url } = await start(new ScriptedCore());
    const body = JSON.stringify({ model: 'scripted', prompt: 'x', kv_transfer_params: { do_remote_decode: true } });
    const response = await fetch(`${url}/v1/completions`, { method: 'POST', body });
    expect([response.status, await response.json()]).toMatchObject([
      400,
      { error: { code: 'unsupported_parameter', param: 'kv_transfer_params' } },
    ]);
  });

  it('receives no more at one time than it may, and gives the room back', async () => {
    const { raw, url } = await start(new ScriptedCore((sink) => sink.end('length')), { bodyBytes: 1000, allBodyBytes: 1500 });
    const half = raw('/v1/completions', null, '');
    half.write(`POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n${'x'.repeat(900)}`);
    const body = JSON.stringify({ model: 'scripted', prompt: 'x'.repeat(700) });
    const send = async () => (await fetch(`${url}/v1/completions`, { method: 'POST', body })).status;
    // The first request of the connection (a GET) is answered with 405; then the half body is being received.
    await until(() => half.bytesRead > 0);
    let status = 0;
    const end = performance.now() + 5000;
    while (status !== 503 && performance.now() < end) status = await send();
    expect(status).toBe(503);
    half.destroy();
    while (status === 503 && performance.now() < end) status = await send();
    expect(status).toBe(200);
  });

  it('answers 413 although the client goes on sending', async () => {
    const { raw } = await start(new ScriptedCore(), { bodyBytes: 1000 });
    const socket = raw('/v1/completions', null, '');
    const read = reader(socket);
    socket.write(`POST /v1/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n`);
    for (let sent = 0; sent < 4; sent += 1) socket.write(`200\r\n${'x'.repeat(512)}\r\n`);
    await until(() => read.text().includes('body_too_large'));
    expect(read.text()).toContain('HTTP/1.1 413 ');
  });
});

describe('subscribers of events', () => {
  it('are dropped when they do not read, and cost nothing afterwards', async () => {
    const core = new ScriptedCore();
    const { raw } = await start(core, { eventBufferedBytes: 64 * 1024 });
    const socket = raw('/sluice/events', null);
    socket.pause();
    await until(() => core.listeners.size === 1);
    const keys = Array.from({ length: 500 }, (_, index) => String(index).padStart(32, '0'));
    for (let seq = 1; seq < 2000 && core.listeners.size > 0; seq += 1) core.publish(seq, keys);
    expect(core.listeners.size).toBe(0);
  });

  it('get no event that their snapshot already has', async () => {
    const core = new ScriptedCore();
    core.snapshotSeq = 5;
    const { raw } = await start(core);
    const read = reader(raw('/sluice/events', null));
    await until(() => core.listeners.size === 1);
    core.publish(5, ['old']);
    core.publish(6, ['new']);
    await until(() => read.text().includes('"new"'));
    expect(read.text()).toContain('{"type":"snapshot","incarnation":"i-1","seq":5,"tiers":{}}');
    expect(read.text()).not.toContain('"old"');
  });

  it('hear at once that the engine is to be emptied, and until it is taken back; so do those that come later', async () => {
    const core = new ScriptedCore();
    const { raw, url } = await start(core, {}, new FakeClock());
    const loads = (read: { text(): string }) => [...read.text().matchAll(/"emptied":(true|false)/g)].map(([, emptied]) => emptied);
    const order = async (path: string) => (await fetch(`${url}${path}`, { method: 'POST' })).json();
    const first = reader(raw('/sluice/events', null));
    await until(() => loads(first).length === 1);
    expect(await order('/sluice/empty')).toEqual({ emptied: true });
    const second = reader(raw('/sluice/events?blocks=0', null));
    await until(() => loads(second).length === 1);
    expect([loads(first), loads(second)]).toEqual([['false', 'true'], ['true']]);
    expect(await order('/sluice/refill')).toEqual({ emptied: false });
    await until(() => loads(first).length === 3 && loads(second).length === 2);
    expect([loads(first).at(-1), loads(second).at(-1)]).toEqual(['false', 'false']);
    // It is no drain: whatever comes is taken.
    expect(core.load().draining).toBe(false);
  });

  it('are bounded', async () => {
    const core = new ScriptedCore();
    const { raw, url } = await start(core, { eventSubscribers: 1 });
    raw('/sluice/events', null);
    await until(() => core.listeners.size === 1);
    expect((await fetch(`${url}/sluice/events`)).status).toBe(503);
  });
});
