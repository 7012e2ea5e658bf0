/**
 * Many streams for a while: every accepted one ends properly, nothing is left over, memory comes back, nobody rejected a promise
 * unseen (the router and engine processes end on an unhandled rejection, so being alive at the end shows that there was none).
 */

import type { ChildProcess } from 'node:child_process';
import { Agent, request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Fleet, MODEL, until } from './fleet.ts';

interface Tally {
  done: number;
  cancelled: number;
  tokens: number;
  readonly wrong: string[];
}

/** One stream to its end, or until we leave it after `leaveAfter` events. Resolves with what was wrong, or null. */
function stream(url: string, agent: Agent, options: { body: object; leaveAfter: number | null; tally: Tally }): Promise<string | null> {
  const { body, leaveAfter, tally } = options;
  return new Promise((resolve) => {
    const payload = Buffer.from(JSON.stringify({ model: MODEL, stream: true, ignore_eos: true, ...body }));
    const headers = { 'content-type': 'application/json', 'content-length': payload.length };
    const call = request(`${url}/v1/completions`, { method: 'POST', agent, headers }, (response) => {
      let events = 0;
      let tail = '';
      let left = false;
      response.on('data', (chunk: Buffer) => {
        const text = chunk.toString('latin1');
        events += text.split('\n\n').length - 1;
        tail = (tail + text).slice(-300);
        if (leaveAfter === null || events < leaveAfter || left) return;
        left = true;
        tally.cancelled += 1;
        call.destroy();
        resolve(null);
      });
      response.on('end', () => {
        if (response.statusCode !== 200) return resolve(`status ${response.statusCode}: ${tail}`);
        if (!tail.endsWith('data: [DONE]\n\n')) return resolve(`no [DONE]: ${tail}`);
        tally.done += 1;
        tally.tokens += events - 2;
        resolve(null);
      });
      response.on('error', (error) => resolve(left ? null : `broken off: ${error.message}`));
    });
    call.on('error', (error) => resolve(error.message));
    call.end(payload);
  });
}

/** `streams` at one time, each followed by another, until the time is over; then waits for the last ones. */
async function load(url: string, options: { streams: number; ms: number; bodyOf: (n: number) => object }): Promise<Tally> {
  const agent = new Agent({ keepAlive: true, maxSockets: options.streams, maxFreeSockets: options.streams });
  const tally: Tally = { done: 0, cancelled: 0, tokens: 0, wrong: [] };
  const endAt = performance.now() + options.ms;
  let count = 0;
  const client = async () => {
    do {
      const n = count++;
      const wrong = await stream(url, agent, { body: options.bodyOf(n), leaveAfter: n % 10 === 9 ? 5 : null, tally });
      if (wrong !== null) tally.wrong.push(wrong);
    } while (performance.now() < endAt && tally.wrong.length < 10);
  };
  await Promise.all(Array.from({ length: options.streams }, client));
  agent.destroy();
  return tally;
}

/** The router keeps its last 4,096 records; refused requests fill them quickly. */
async function fillRecords(fleet: Fleet): Promise<void> {
  const refuse = async () => {
    for (let i = 0; i < 300; i++) {
      const body = JSON.stringify({ model: MODEL, prompt: `Not served ${i}`, max_tokens: -1 });
      const answer = await fetch(`${fleet.routerUrl}/v1/completions`, { method: 'POST', body });
      await answer.arrayBuffer();
    }
  };
  await Promise.all(Array.from({ length: 16 }, refuse));
}

async function liveMiB(fleet: Fleet): Promise<number[]> {
  const bytes = await Promise.all(processesOf(fleet).map((child) => fleet.liveBytes(child)));
  return bytes.map((value) => value / 2 ** 20);
}

function processesOf(fleet: Fleet): ChildProcess[] {
  return [fleet.router as ChildProcess, ...fleet.engines.map((engine) => engine.process)];
}

/** Router first, then the engines. One may still be letting go of sockets, so this looks for a while. */
async function expectMemoryBack(fleet: Fleet, before: readonly number[]): Promise<void> {
  let now = await liveMiB(fleet);
  const back = () => now.every((mib, i) => mib <= (before[i] ?? 0) * 1.1);
  await until('memory is back within 10 % of the start', async () => {
    now = await liveMiB(fleet);
    return back();
  }).catch(() => expect(now, 'MiB after').toEqual(before));
}

async function idle(fleet: Fleet): Promise<void> {
  const NOTHING = { reservations: 0, openLegs: 0, inFlight: 0, queued: 0 };
  await until('nothing is held any more', async () => {
    const { reservations, openLegs, inFlight, queued } = await fleet.leftovers();
    return reservations + openLegs + inFlight + queued === 0;
  }).catch(async () => expect(await fleet.leftovers()).toEqual(NOTHING));
  await until('the engines are idle', async () => {
    const loads = await Promise.all(fleet.engines.map((engine) => fleet.load(engine)));
    return loads.every(({ running, waiting, leases }) => running + waiting + leases === 0);
  });
}

describe('1,000 concurrent streams onto simulated engines', () => {
  const costs = { prefillPerToken: 0.01, stepFixed: 60, stepPerSequence: 0.02, pullFixed: 0.2, pullPerMiB: 1 };
  const zero = { prefillFixed: 0, prefillPerTokenContext: 0, stepPerContextToken: 0 };
  const fleet = new Fleet({
    type: 'sim',
    inspect: true,
    roles: ['prefill', 'decode', 'decode'],
    engineArgs: [
      '--sequences',
      '512',
      '--hbm-bytes',
      String(2 ** 27),
      '--host-bytes',
      String(2 ** 24),
      '--costs',
      JSON.stringify({ ...costs, ...zero }),
    ],
  });
  beforeAll(() => fleet.start());
  afterAll(() => fleet.stop());

  const bodyOf = (n: number) => ({
    prompt: `Session ${n % 400}. ${'The same words again. '.repeat(10 + (n % 30))}`,
    max_tokens: 40 + (n % 100),
    temperature: 0,
  });

  it('for 60 seconds', { timeout: 180_000 }, async () => {
    // What is bounded fills first: the router's records, the engines' caches. What grows after that is a leak.
    await fillRecords(fleet);
    expect((await load(fleet.routerUrl, { streams: 1000, ms: 12_000, bodyOf })).wrong).toEqual([]);
    await idle(fleet);
    const before = await liveMiB(fleet);
    const tally = await load(fleet.routerUrl, { streams: 1000, ms: 60_000, bodyOf });
    await idle(fleet);
    expect(tally.wrong).toEqual([]);
    expect(tally.done).toBeGreaterThan(2000);
    expect(tally.cancelled).toBeGreaterThan(200);
    await expectMemoryBack(fleet, before);
    expect(processesOf(fleet).every((one) => one.exitCode === null && one.signalCode === null)).toBe(true);
  });
});

describe('64 concurrent streams onto llama.cpp engines', () => {
  const fleet = new Fleet({
    inspect: true,
    roles: ['prefill', 'decode', 'decode'],
    engineArgs: ['--context', '2048', '--host-bytes', String(2 ** 24)],
  });
  beforeAll(() => fleet.start());
  afterAll(() => fleet.stop());

  const bodyOf = (n: number) => ({
    prompt: `Session ${n % 40}. ${'The same words again. '.repeat(5 + (n % 40))}`,
    max_tokens: 16 + (n % 48),
    temperature: 0.8,
    seed: n,
  });

  it('for 20 seconds, and memory comes back', { timeout: 120_000 }, async () => {
    await fillRecords(fleet);
    expect((await load(fleet.routerUrl, { streams: 64, ms: 15_000, bodyOf })).wrong).toEqual([]);
    await idle(fleet);
    const before = await liveMiB(fleet);
    const tally = await load(fleet.routerUrl, { streams: 64, ms: 20_000, bodyOf });
    await idle(fleet);
    expect(tally.wrong).toEqual([]);
    expect(tally.done).toBeGreaterThan(100);
    await expectMemoryBack(fleet, before);
  });
});
