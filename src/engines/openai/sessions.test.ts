import { afterEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../shared/index.ts';
import { createEngineServer, type EngineServer } from './index.ts';
import { REPORT, ScriptedCore } from './scriptedcore.fixture.ts';

const HOLD_MS = 30_000;
const open: EngineServer[] = [];

afterEach(async () => {
  for (const server of open.splice(0)) await server.close();
});

async function start() {
  const core = new ScriptedCore();
  const clock = new FakeClock();
  const server = createEngineServer({ core, logger: { info: () => {}, warn: () => {}, error: () => {} }, clock });
  const { url } = await server.listen('127.0.0.1', 0);
  open.push(server);
  const body = JSON.stringify({ model: 'scripted', prompt: 'ab', max_tokens: 50, stream: true });
  const post = (path: string, text: string, headers: Record<string, string> = {}) =>
    fetch(`${url}${path}`, { method: 'POST', body: text, headers });
  return {
    core,
    clock,
    /** A stream as its `generation`th owner has it. */
    stream: (generation: number) => post('/v1/completions', body, { 'x-sluice-session': `s/${generation}`, 'x-sluice-tokens': '1' }),
    hold: (generation: number, headers: Record<string, string> = {}) =>
      post('/v1/completions', body, { 'x-sluice-session': `s/${generation}`, 'x-sluice-leg': 'hold', ...headers }),
    command: (verb: string, generation: number, fields: object = {}) =>
      post(`/sluice/session/${verb}`, JSON.stringify({ session: 's', generation, ...fields })),
  };
}

async function until(holds: () => boolean): Promise<void> {
  const end = performance.now() + 5000;
  while (!holds()) {
    if (performance.now() > end) throw new Error('not within 5 s');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('a stream that leaves', () => {
  it('is offered, stops once, and ends with a mark in place of [DONE]; its copy goes when it is released', async () => {
    const { core, stream, command } = await start();
    const answer = stream(1);
    await until(() => core.running !== null);
    core.start(REPORT);
    core.token('a');
    expect(await (await command('offer', 2)).json()).toMatchObject({ ticket: { lease: 'l' } });
    expect((await command('stop', 2)).status).toBe(200);
    expect((await command('stop', 2)).status).toBe(200);
    expect(core.stopped).toBe(1);
    core.token('b');
    core.end('moved');
    const text = await (await answer).text();
    expect(text).toMatch(/"text":"b".*\n\n: moved\n\n$/s);
    expect(text).not.toContain('[DONE]');
    expect(core.cancelled).toBe(0);
    expect((await command('release', 2)).status).toBe(200);
    expect(core.cancelled).toBe(1);
  });

  it('is not stopped for an owner that was fenced, nor for one that is not there', async () => {
    const { core, stream, command } = await start();
    expect((await command('stop', 2)).status).toBe(404);
    const answer = stream(3);
    await until(() => core.running !== null);
    expect((await command('stop', 2)).status).toBe(404);
    expect((await command('stop', 3)).status).toBe(404);
    expect(core.stopped).toBe(0);
    core.start(REPORT);
    core.end('stop');
    expect(await (await answer).text()).toContain('[DONE]');
  });

  it('keeps no lease of an offer that was given up while it was made', async () => {
    const { core, stream, command } = await start();
    const answer = stream(1);
    await until(() => core.running !== null);
    core.start(REPORT);
    const offered = Promise.withResolvers<void>();
    core.offering = offered.promise;
    const offer = command('offer', 2);
    await until(() => core.offers === 1);
    expect((await command('release', 2)).status).toBe(200);
    expect(core.released).toEqual([]);
    offered.resolve();
    await offer;
    expect(core.released).toEqual(['l']);
    // One that stands is given back once.
    await command('offer', 3);
    await command('release', 3);
    await command('release', 3);
    expect(core.released).toEqual(['l', 'l']);
    core.end('stop');
    await answer;
  });

  it('keeps its copy for a lease when nobody releases it', async () => {
    const { core, clock, stream, command } = await start();
    const answer = stream(1);
    await until(() => core.running !== null);
    core.start(REPORT);
    await command('stop', 2);
    core.token('a');
    core.end('moved');
    await (await answer).text();
    clock.advance(HOLD_MS - 1);
    expect(core.cancelled).toBe(0);
    clock.advance(1);
    expect(core.cancelled).toBe(1);
  });
});

describe('a stream that comes', () => {
  it('has a place, follows without a gap, and goes on when it is told to', async () => {
    const { core, hold, command } = await start();
    const held = hold(2, { 'x-sluice-resume': '104,105', 'x-sluice-tokens': '1' });
    await until(() => core.held);
    core.place();
    expect(await (await held).json()).toMatchObject({ object: 'sluice.hold', session: 's' });
    expect((await command('follow', 2, { from: 2, tokens: [106, 107] })).status).toBe(200);
    // What is known already, and a gap.
    expect(await (await command('follow', 2, { from: 3, tokens: [107, 108] })).json()).toEqual({ known: 5 });
    expect((await command('follow', 2, { from: 7, tokens: [1] })).status).toBe(400);
    expect(core.running).toBeNull();
    const answer = command('commit', 2, { from: 5, tokens: [109] });
    await until(() => core.running !== null);
    expect(core.followed).toEqual([106, 107, 108, 109]);
    core.start(REPORT);
    core.token('n');
    core.end('length');
    const text = await (await answer).text();
    expect(text).toMatch(/^: 110\ndata: \{"id":"cmpl-.*"text":"n"/);
    expect(text).toContain('[DONE]');
    expect((await command('commit', 2, { from: 6, tokens: [] })).status).toBe(404);
  });

  it('is committed to its own generation alone', async () => {
    const { core, hold, command } = await start();
    const held = hold(2);
    await until(() => core.held);
    core.place();
    await held;
    for (const generation of [1, 3]) expect((await command('commit', generation)).status).toBe(404);
    expect((await command('release', 2)).status).toBe(200);
    expect(core.cancelled).toBe(1);
    // Late and twice: the place is not taken again.
    expect((await hold(2)).status).toBe(404);
    expect((await command('commit', 2)).status).toBe(404);
    expect(core.running).toBeNull();
  });

  it('loses its place when nobody asks for it for a lease', async () => {
    const { core, clock, hold, command } = await start();
    const held = hold(2);
    await until(() => core.held);
    core.place();
    await held;
    clock.advance(HOLD_MS / 2);
    await command('follow', 2, { from: 0, tokens: [1] });
    clock.advance(HOLD_MS - 1);
    expect(core.cancelled).toBe(0);
    clock.advance(1);
    expect(core.cancelled).toBe(1);
    expect((await command('commit', 2)).status).toBe(404);
  });

  it.each([
    ['a gap', { from: 3, tokens: [1] }, 'at most the 0 tokens that are known'],
    ['more than it may have', { from: 0, tokens: Array.from({ length: 51 }, () => 1) }, 'at most 50 (max_tokens)'],
  ])('that is committed with %s gives its place up', async (_, news, message) => {
    const { core, hold, command } = await start();
    const held = hold(2);
    await until(() => core.held);
    core.place();
    await held;
    const answer = await command('commit', 2, news);
    expect(answer.status).toBe(400);
    expect(await answer.text()).toContain(message);
    expect(core.cancelled).toBe(1);
    expect(core.followed).toEqual([]);
    // Nothing is in the way of a later owner.
    core.held = false;
    const next = hold(3);
    await until(() => core.held);
    core.place();
    expect((await next).status).toBe(200);
  });

  it('keeps its place when word of an earlier move comes late', async () => {
    const { core, hold, command } = await start();
    const held = hold(3);
    await until(() => core.held);
    core.place();
    await held;
    expect((await command('release', 2)).status).toBe(200);
    expect(core.cancelled).toBe(0);
    expect((await command('follow', 3, { from: 0, tokens: [1] })).status).toBe(200);
    expect((await command('release', 3)).status).toBe(200);
    expect(core.cancelled).toBe(1);
  });

  it.each([
    [{ 'x-sluice-session': 'no slash' }, '`x-sluice-session` must be a name'],
    [{ 'x-sluice-leg': 'stay' }, '"prefill", "hold" or absent'],
  ])('is refused with %j', async (headers, message) => {
    const { hold } = await start();
    const answer = await hold(2, headers);
    expect(answer.status).toBe(400);
    expect(await answer.text()).toContain(JSON.stringify(message).slice(1, -1));
  });
});
