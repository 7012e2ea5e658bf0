/** What the simulator of SGLang's contract says and does, without a router. */
import { afterEach, describe, expect, it } from 'vitest';
import type { Role } from '../../port.ts';
import type { SimOptions } from '../options.ts';
import { type Json, type Sim, send as sendTo, startSim, stopSims, until } from '../sims.fixture.ts';

const start = (role: Role, options: Partial<SimOptions> = {}) => startSim({ role, dialect: 'bootstrap', ...options });

const send = (sim: Sim, body: Json, signal: AbortSignal | null = null, path = '/v1/completions') =>
  sendTo(sim, { max_tokens: 6, ...body }, signal, path);

afterEach(stopSims);

async function post(sim: Sim, body: Json): Promise<{ status: number; json: Json }> {
  const answer = await send(sim, body);
  return { status: answer.status, json: (await answer.json()) as Json };
}

const PROMPT = Array.from({ length: 70 }, (_, index) => 1 + index * 3);
let rooms = 0;

function roomAt({ core }: Sim): Json {
  rooms += 1;
  return { bootstrap_host: core.info.transfer.host, bootstrap_port: core.info.transfer.port, bootstrap_room: rooms };
}

describe('a pair', () => {
  it.each(['prefill', 'decode'] as const)('says what one instance alone says, the %s leg first', async (first) => {
    const [prefill, decode, mixed] = [await start('prefill'), await start('decode'), await start('mixed')];
    const body = { prompt: PROMPT, ...roomAt(prefill) };
    const order = first === 'prefill' ? [prefill, decode] : [decode, prefill];
    const [one, other] = await Promise.all(order.map((sim) => post(sim, body)));
    const [prefilled, decoded] = first === 'prefill' ? [one, other] : [other, one];
    const alone = await post(mixed, { prompt: PROMPT });
    expect([prefilled?.status, decoded?.status]).toEqual([200, 200]);
    expect(decoded?.json['choices']).toEqual(alone.json['choices']);
    expect(prefilled?.json).toMatchObject({ usage: { completion_tokens: 1 }, choices: [{ finish_reason: 'length' }] });
    expect(decode.core.counters().pulledBytes).toBe(4 * 4096);
    await until('nothing is kept', () => prefill.core.load().leases + (prefill.core.rooms?.size ?? 0) === 0);
  });

  it('has the prefill leg wait for the decode leg', async () => {
    const [prefill, decode] = [await start('prefill'), await start('decode')];
    const body = { prompt: PROMPT, ...roomAt(prefill) };
    let isOver = false;
    const prefilled = post(prefill, body).then(() => {
      isOver = true;
    });
    await until('it is computed', () => prefill.core.load().leases === 1);
    expect(isOver).toBe(false);
    await post(decode, body);
    await prefilled;
  });

  it('tells a chat as SGLang does, events and all', async () => {
    const [prefill, decode] = [await start('prefill'), await start('decode')];
    const messages = [{ role: 'user', content: 'x'.repeat(200) }];
    const body = { messages, stream: true, stream_options: { include_usage: true }, rid: 'r', ...roomAt(prefill) };
    const path = '/v1/chat/completions';
    const answers = await Promise.all([send(prefill, body, null, path), send(decode, body, null, path)]);
    const [, streamed = ''] = await Promise.all(answers.map((answer) => answer.text()));
    const events = streamed.split('\n\n').filter((line) => line.startsWith('data: {'));
    expect(events[0]).toContain('"delta":{"role":"assistant","content":"","reasoning_content":null,"tool_calls":null}');
    expect(events[1]).toMatch(/^data: \{"id":"r",.*"delta":\{"role":null,"content":"/);
    expect(events.at(-1)).toMatch(/"choices":\[\],"usage":\{"prompt_tokens":\d+,.*"prompt_tokens_details":\{"cached_tokens":\d+\}/);
    expect(streamed.endsWith('data: [DONE]\n\n')).toBe(true);
  });
});

describe('one without the other', () => {
  it('a decode instance waits in the room for as long as a room lasts', async () => {
    const [prefill, decode] = [await start('prefill', { leaseMs: 60 }), await start('decode')];
    const answer = await post(decode, { prompt: PROMPT, ...roomAt(prefill) });
    expect(answer).toMatchObject({ status: 500, json: { object: 'error', code: 500, message: expect.stringContaining('nobody came') } });
  });

  it('hears nothing of a prefill leg that was given up', async () => {
    const [prefill, decode] = [await start('prefill'), await start('decode')];
    const body = { prompt: PROMPT, ...roomAt(prefill) };
    const left = new AbortController();
    const prefilled = send(prefill, body, left.signal).catch(() => null);
    await until('it is computed', () => prefill.core.load().leases === 1);
    left.abort();
    await prefilled;
    await until('the room is empty', () => prefill.core.rooms?.size === 0 && prefill.core.load().leases === 0);
    const waits = new AbortController();
    const decoded = send(decode, { ...body, rid: 'd' }, waits.signal).then(
      () => 'answered',
      () => 'given up',
    );
    await until('it waits', () => prefill.core.rooms?.size === 1);
    waits.abort();
    expect(await decoded).toBe('given up');
    await until('nobody waits', () => prefill.core.rooms?.size === 0);
  });

  it('a prefill instance keeps the blocks for as long as a lease lasts', async () => {
    const prefill = await start('prefill', { leaseMs: 60 });
    const answer = await post(prefill, { prompt: PROMPT, ...roomAt(prefill) });
    expect(answer).toMatchObject({ status: 500, json: { message: expect.stringContaining('Prefill transfer failed') } });
    expect(prefill.core.load().leases).toBe(0);
  });

  it('nobody at the bootstrap address is said at once', async () => {
    const decode = await start('decode');
    const answer = await post(decode, { prompt: PROMPT, bootstrap_host: '127.0.0.1', bootstrap_port: 1, bootstrap_room: 5 });
    expect(answer).toMatchObject({
      status: 500,
      json: { message: 'Could not fetch prefill parallel info from bootstrap_addr: 127.0.0.1:1' },
    });
  });
});

describe('what is refused', () => {
  it.each(['prefill', 'decode'] as const)('a request without a room, by a %s instance', async (role) => {
    const sim = await start(role);
    const answer = await post(sim, { prompt: PROMPT });
    expect(answer).toMatchObject({ status: 400, json: { object: 'error', message: expect.stringContaining('without bootstrap room id') } });
  });

  it('a name, or a room, that is in use', async () => {
    const [prefill, decode] = [await start('prefill'), await start('decode')];
    const body = { prompt: PROMPT, rid: 'one', ...roomAt(prefill) };
    const first = post(prefill, body);
    await until('it is there', () => prefill.core.load().leases === 1);
    expect(await post(prefill, { ...body, ...roomAt(prefill) })).toMatchObject({
      status: 400,
      json: { message: 'Duplicate request ID detected: one' },
    });
    expect(await post(prefill, { ...body, rid: 'two' })).toMatchObject({ status: 400, json: { param: 'bootstrap_room' } });
    await post(decode, body);
    expect((await first).status).toBe(200);
  });
});

it('ends a request by its name', async () => {
  const prefill = await start('prefill');
  const answer = post(prefill, { prompt: PROMPT, rid: 'one', ...roomAt(prefill) });
  await until('it is there', () => prefill.core.load().leases === 1);
  expect((await send(prefill, { rid: 'one' }, null, '/abort_request')).status).toBe(200);
  expect(await answer).toMatchObject({ status: 200, json: { choices: [{ finish_reason: 'abort' }] } });
  await until('nothing is kept', () => prefill.core.load().leases === 0 && prefill.core.rooms?.size === 0);
});
