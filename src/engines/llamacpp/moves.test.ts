import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { EngineCore, EngineRequest, FinishReason, PromptReport, Sampling, Session } from '../port.ts';
import { BLOCK_TOKENS, randomTokens, TinyEngines, request as unseeded } from './tinyengines.fixture.ts';

const engines = new TinyEngines({ role: 'decode', contextTokens: 1024 });
let source: EngineCore;
let target: EngineCore;

beforeAll(async () => {
  [source, target] = await Promise.all([engines.open('source', { maxSequences: 4 }), engines.open('target', { maxSequences: 2 })]);
});
afterAll(() => engines.closeAll());
afterEach(async () => {
  for (const core of [source, target]) await until(() => core.load().running + core.load().waiting === 0);
});

/** Looks often: a stream that is to be caught in the middle is short. */
const until = (holds: () => boolean) => vi.waitFor(() => expect(holds()).toBe(true), { interval: 2, timeout: 10_000 });

const SEEDED: Sampling = { temperature: 0.8, topP: 0.9, seed: 77, maxTokens: 400, ignoreEos: true, logprobs: 2 };

function request(count: number, seed: number, change: Partial<EngineRequest> = {}): EngineRequest {
  return unseeded(randomTokens(count, seed), { sampling: SEEDED, pullDeadlineMs: 5_000, ...change });
}

class Listener {
  readonly tokens: number[] = [];
  readonly scores: number[] = [];
  report: PromptReport | null = null;
  ended: FinishReason | null = null;
  error: Error | null = null;

  start(report: PromptReport): void {
    this.report = report;
  }
  token(token: number, logprobs: { logprob: number } | null): void {
    this.tokens.push(token);
    this.scores.push(logprobs?.logprob ?? 0);
  }
  end(reason: FinishReason): void {
    this.ended = reason;
  }
  fail(error: Error): void {
    this.error = error;
  }
}

function generate(core: EngineCore, of: EngineRequest): { heard: Listener; session: Session } {
  const heard = new Listener();
  return { heard, session: core.generate(of, sinkOf(heard)) };
}

function sinkOf(heard: Listener) {
  return {
    start: (report: PromptReport) => heard.start(report),
    token: (token: number, logprobs: { logprob: number } | null) => heard.token(token, logprobs),
    end: (reason: FinishReason) => heard.end(reason),
    error: (error: Error) => heard.fail(error),
  };
}

async function whole(of: EngineRequest): Promise<Listener> {
  const { heard } = generate(source, of);
  await until(() => heard.ended !== null);
  return heard;
}

describe('a running request', () => {
  it.each([200, 207, 500])('goes on at another instance with the same tokens and scores, after a prompt of %i', async (length) => {
    const expected = await whole(request(length, length, { salt: 'x' }));
    const ask = request(length, length);
    const { heard, session } = generate(source, ask);
    await until(() => heard.tokens.length >= 10);
    const held = target.hold({ ...ask, resumed: Int32Array.from(heard.tokens) });
    let known = heard.tokens.length;
    await held.placed;
    const ticket = await session.offer();
    expect(ticket.blocks).toBeGreaterThanOrEqual(Math.floor(length / BLOCK_TOKENS));
    const before = heard.tokens.length;
    expect(await held.pull(ticket, 5_000)).toMatchObject({ failed: null });
    await until(() => heard.tokens.length > before + 2);
    const meanwhile = Int32Array.from(heard.tokens.slice(known));
    known = heard.tokens.length;
    await held.follow(meanwhile);
    session.stop();
    await until(() => heard.ended !== null);
    expect(heard.ended).toBe('moved');
    // Its copy stays until it is given up.
    expect(source.load().running).toBe(1);
    const stoppedAt = heard.tokens.length;
    const rest = new Listener();
    const last = held.follow(Int32Array.from(heard.tokens.slice(known)));
    held.start(sinkOf(rest));
    await until(() => rest.ended !== null);
    await last;
    session.cancel();
    expect([...heard.tokens, ...rest.tokens]).toEqual(expected.tokens);
    expect([...heard.scores, ...rest.scores]).toEqual(expected.scores);
    expect(rest.ended).toBe('length');
    expect(stoppedAt).toBeLessThan(expected.tokens.length);
    expect(rest.report?.reused.peer).toBeGreaterThan(0);
    source.releaseLease(ticket.lease);
  });

  it('is computed where its blocks do not come', async () => {
    const expected = await whole(request(300, 5, { salt: 'y' }));
    const ask = request(300, 5, { resumed: Int32Array.from(expected.tokens.slice(0, 20)) });
    const held = target.hold(ask);
    await held.placed;
    const nowhere = { instance: 's', incarnation: 'i', host: '127.0.0.1', port: 1, lease: 'none', blocks: 10, bytes: 1, leaseMs: 1 };
    expect((await held.pull(nowhere, 500)).failed).not.toBeNull();
    // Whoever asks before the other is answered: both are.
    await Promise.all([[20, 30] as const, [30, 40] as const].map((part) => held.follow(Int32Array.from(expected.tokens.slice(...part)))));
    const rest = new Listener();
    held.start(sinkOf(rest));
    await until(() => rest.ended !== null);
    expect(rest.tokens).toEqual(expected.tokens.slice(40));
  });
});

describe('a place that is held', () => {
  it('keeps nobody else from working, and is free again when it is given up', async () => {
    const held = target.hold(request(100, 6));
    await held.placed;
    await held.follow(new Int32Array(0));
    const { heard } = generate(target, request(50, 7));
    await until(() => heard.ended !== null);
    expect(heard.tokens).toHaveLength(SEEDED.maxTokens);
    expect(target.load().running).toBe(1);
    held.cancel();
    await until(() => target.load().running === 0);
    await expect(held.follow(Int32Array.of(1))).rejects.toThrow('the request is over');
  });

  it('is refused at once where there is none', async () => {
    const held = [target.hold(request(60, 8)), target.hold(request(60, 9))];
    await Promise.all(held.map((one) => one.placed));
    await expect(target.hold(request(60, 10)).placed).rejects.toMatchObject({ code: 'queue_full' });
    for (const one of held) one.cancel();
  });
});
