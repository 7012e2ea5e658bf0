import { afterEach, describe, expect, it } from 'vitest';
import { FREE_COSTS } from '../../api/facts/index.ts';
import type { KvEventEnvelope } from '../../kv/index.ts';
import { FakeClock, type SluiceError, systemClock } from '../../shared/index.ts';
import type { EngineCore, EngineRequest, FinishReason, HandOffTicket, PromptReport } from '../port.ts';
import { createSimEngine } from './engine.ts';
import type { SimOptions } from './options.ts';

const engines: EngineCore[] = [];

afterEach(async () => {
  await Promise.all(engines.splice(0).map((engine) => engine.close()));
});

async function engineOf(options: Partial<SimOptions> = {}): Promise<EngineCore> {
  const engine = await createSimEngine({
    instance: 's',
    role: 'mixed',
    modelName: 'm',
    clock: systemClock,
    costs: FREE_COSTS,
    ...options,
  });
  engines.push(engine);
  return engine;
}

const NO_TOKENS = new Int32Array(0);
const prompt = (length: number, from = 1) => Int32Array.from({ length }, (_, index) => from + index);

function request(changes: Partial<EngineRequest> & { maxTokens?: number } = {}): EngineRequest {
  const { maxTokens = 8, ...rest } = changes;
  const sampling = { temperature: 1, topP: 1, seed: 3, maxTokens, ignoreEos: true, logprobs: null };
  return { id: 'r', prompt: prompt(40), resumed: NO_TOKENS, sampling, salt: '', ticket: null, pullDeadlineMs: 1000, ...rest };
}

class Recorder {
  report: PromptReport | null = null;
  readonly tokens: number[] = [];
  readonly at: number[] = [];
  reason: FinishReason | null = null;
  failure: SluiceError | null = null;
  readonly #now: () => number;
  readonly over: Promise<void>;
  readonly #resolve: () => void;

  constructor(now: () => number = () => 0) {
    this.#now = now;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.over = promise;
    this.#resolve = resolve;
  }

  start(report: PromptReport): void {
    this.report = report;
  }

  token(token: number): void {
    this.tokens.push(token);
    this.at.push(this.#now());
  }

  end(reason: FinishReason): void {
    expect(this.reason ?? this.failure).toBeNull();
    this.reason = reason;
    this.#resolve();
  }

  error(error: SluiceError): void {
    expect(this.reason ?? this.failure).toBeNull();
    this.failure = error;
    this.#resolve();
  }
}

function ask(engine: EngineCore, changes: Parameters<typeof request>[0] = {}, now?: () => number): Recorder {
  const recorder = new Recorder(now);
  engine.generate(request(changes), recorder);
  return recorder;
}

function prefill(engine: EngineCore, changes: Parameters<typeof request>[0] = {}): { ticket: HandOffTicket; report: PromptReport } {
  let done: { ticket: HandOffTicket; report: PromptReport } | null = null;
  engine.prefill(request(changes), {
    done: (ticket, report) => {
      done = { ticket, report };
    },
    error: (error) => expect(error).toBeNull(),
  });
  if (done === null) throw new Error('an instant engine prefills at once');
  return done;
}

describe('an instant engine', () => {
  it('answers in the same tick', async () => {
    const recorder = ask(await engineOf());
    expect(recorder.reason).toBe('length');
    expect(recorder.tokens).toHaveLength(8);
  });

  it('lets others have a turn in long answers', async () => {
    const engine = await engineOf();
    const long = ask(engine, { maxTokens: 2000 });
    expect(long.reason).toBeNull();
    const short = ask(engine, { maxTokens: 2 });
    await short.over;
    await long.over;
    expect(long.tokens).toHaveLength(2000);
  });
});

describe('declared time', () => {
  const costs = { ...FREE_COSTS, prefillFixed: 5, prefillPerToken: 1, stepFixed: 10, stepPerSequence: 1 };

  it('passes as declared: prefill by uncached tokens, then steps by batch', async () => {
    const clock = new FakeClock();
    const engine = await engineOf({ clock, costs });
    const now = () => clock.now();
    const first = ask(engine, { maxTokens: 3 }, now);
    clock.advance(1000);
    expect(first.at).toEqual([45, 56, 67]);
    expect(first.report).toMatchObject({ computed: 40, queueMs: 0, prefillMs: 45 });
    const again = ask(engine, { maxTokens: 1 }, now);
    clock.advance(1000);
    expect(again.at).toEqual([1000 + 5 + 8]);
    expect(again.report).toMatchObject({ computed: 8, reused: { hbm: 32, host: 0, peer: 0, store: 0 } });
  });

  it('stalls decodes by a prefill in the same step and batches what decodes together', async () => {
    const clock = new FakeClock();
    const engine = await engineOf({ clock, costs });
    const now = () => clock.now();
    const first = ask(engine, { maxTokens: 4 }, now);
    clock.advance(50);
    const second = ask(engine, { prompt: prompt(20, 500), maxTokens: 2 }, now);
    expect(engine.load()).toMatchObject({ running: 1, waiting: 1, pendingPrefillTokens: 20 });
    clock.advance(1000);
    // Step of 11 ms ends at 56; the next has the prefill (5 + 20) and one decode (11); the last has two decodes (12).
    expect(first.at).toEqual([45, 56, 92, 104]);
    expect(second.at).toEqual([92, 104]);
    expect(second.report?.queueMs).toBe(6);
  });

  it('does not add up how late timers are', async () => {
    class LateClock extends FakeClock {
      override after(ms: number, run: () => void) {
        return super.after(ms + 2, run);
      }
    }
    const clock = new LateClock();
    const engine = await engineOf({ clock, costs });
    const recorder = ask(engine, { maxTokens: 101 }, () => clock.now());
    clock.advance(5000);
    expect(recorder.at.at(-1)).toBe(45 + 100 * 11 + 2);
  });

  it('runs as many sequences as allowed and queues as many as allowed', async () => {
    const clock = new FakeClock();
    const engine = await engineOf({ clock, costs, maxSequences: 1, maxWaiting: 1 });
    const [first, second, third] = [ask(engine), ask(engine), ask(engine)];
    expect(third.failure).toMatchObject({ code: 'queue_full', retryAfterSeconds: 1 });
    expect(engine.load()).toMatchObject({ running: 1, waiting: 1 });
    clock.advance(10_000);
    expect([first.reason, second.reason]).toEqual(['length', 'length']);
    expect(second.report?.queueMs).toBeGreaterThan(0);
    expect(engine.load()).toMatchObject({ running: 0, waiting: 0, pendingPrefillTokens: 0, contextTokens: 0 });
  });

  it('frees what a cancelled request holds, wherever it is', async () => {
    const clock = new FakeClock();
    const engine = await engineOf({ clock, costs, maxSequences: 1 });
    const recorders = [new Recorder(), new Recorder()];
    const running = recorders.map((recorder) => engine.generate(request({ maxTokens: 100 }), recorder));
    clock.advance(100);
    for (const one of running) one.cancel();
    for (const one of running) one.cancel();
    expect(recorders.map(({ reason }) => reason)).toEqual(['cancelled', 'cancelled']);
    expect(engine.load()).toMatchObject({ running: 0, waiting: 0, kv: { hbm: { usedBytes: 0 } } });
  });
});

describe('finite KV', () => {
  it('preempts the youngest when HBM is short, and everyone still says the same', async () => {
    const small = { contextTokens: 256, bytesPerBlock: 16, hbmBytes: 16 * 20, hostBytes: 0 };
    const roomy = await engineOf({ contextTokens: 256 });
    const engine = await engineOf({ ...small, clock: systemClock });
    const clock = new FakeClock();
    const slow = await engineOf({ ...small, clock, costs: { ...FREE_COSTS, stepFixed: 1 } });
    const bodies = [1, 1000, 2000].map((from) => ({ prompt: prompt(60, from), maxTokens: 150 }));
    const expected = bodies.map((body) => ask(roomy, body).tokens);
    const together = bodies.map((body) => ask(slow, body));
    clock.advance(100_000);
    expect(together.map(({ tokens }) => tokens)).toEqual(expected);
    expect(slow.counters().preemptions).toBeGreaterThan(0);
    expect(engine.counters().preemptions).toBe(0);
  });

  it('evicts to host memory and finds it there', async () => {
    const engine = await engineOf({ contextTokens: 64, bytesPerBlock: 16, hbmBytes: 16 * 4, hostBytes: 16 * 100 });
    const body = { prompt: prompt(48), maxTokens: 1 };
    expect(ask(engine, body).report?.computed).toBe(48);
    ask(engine, { prompt: prompt(63, 900), maxTokens: 1 });
    expect(ask(engine, body).report?.reused).toEqual({ hbm: 0, host: 47, peer: 0, store: 0 });
  });

  it('tells in events without holes what a snapshot would say', async () => {
    const engine = await engineOf({ contextTokens: 64, bytesPerBlock: 16, hbmBytes: 16 * 4, hostBytes: 16 * 6 });
    const seen: KvEventEnvelope[] = [];
    const stop = engine.onEvent((envelope) => seen.push(envelope));
    for (let from = 0; from < 10; from += 1) ask(engine, { prompt: prompt(20 + from * 4, from * 50), maxTokens: 3 });
    stop();
    ask(engine, { prompt: prompt(20, 9999), maxTokens: 3 });
    const held = { hbm: new Set<string>(), host: new Set<string>() };
    seen.forEach(({ seq, event }, index) => {
      expect(seq).toBe(index + 1);
      if (event.type === 'cleared' || event.tier === 'peer' || event.tier === 'store') throw new Error('not of this engine');
      for (const key of event.keys) {
        expect(held[event.tier].has(key)).toBe(event.type === 'removed');
        if (event.type === 'stored') held[event.tier].add(key);
        else held[event.tier].delete(key);
      }
    });
    expect(held.hbm.size).toBeGreaterThan(0);
    const fresh = await engineOf({ contextTokens: 64, bytesPerBlock: 16, hbmBytes: 16 * 4, hostBytes: 16 * 6 });
    for (let from = 0; from < 10; from += 1) ask(fresh, { prompt: prompt(20 + from * 4, from * 50), maxTokens: 3 });
    const { tiers, seq } = fresh.snapshot();
    expect(seq).toBe(seen.length);
    expect(new Set(tiers.hbm)).toEqual(held.hbm);
    expect(new Set(tiers.host)).toEqual(held.host);
  });

  it('refuses to start when one context does not fit', async () => {
    await expect(engineOf({ contextTokens: 1000, hbmBytes: 4096 })).rejects.toThrow(/hbmBytes.*1000 tokens needs 258048 bytes, got 4096/);
  });
});

describe('hand-off', () => {
  it('pulls over TCP what it lacks and no more, and takes the declared time', async () => {
    const giver = await engineOf();
    const taker = await engineOf({ costs: { ...FREE_COSTS, pullFixed: 30 } });
    const alone = ask(await engineOf(), { prompt: prompt(100) });
    const { ticket } = prefill(giver, { prompt: prompt(100) });
    expect(ticket).toMatchObject({ blocks: 6, bytes: 6 * 4096, host: '127.0.0.1', port: giver.info.transfer.port });
    ask(taker, { prompt: prompt(40), maxTokens: 1 });
    const pulled = ask(taker, { prompt: prompt(100), ticket });
    await pulled.over;
    expect(pulled.tokens).toEqual(alone.tokens);
    expect(pulled.report).toMatchObject({
      reused: { hbm: 32, host: 0, peer: 64, store: 0 },
      computed: 4,
      handOff: { blocks: 4, failed: null },
    });
    expect(pulled.report?.handOff?.ms).toBeGreaterThanOrEqual(29);
    expect(taker.counters()).toMatchObject({ externalQueryTokens: 64, externalHitTokens: 64, pulledBytes: 4 * 4096, pullFailures: 0 });
    await giver.drain();
    expect(giver.load().leases).toBe(0);
  });

  it('ends the lease of a peer from which nothing is lacking', async () => {
    const giver = await engineOf();
    const taker = await engineOf();
    const { ticket } = prefill(giver);
    ask(taker, { maxTokens: 1 });
    await ask(taker, { ticket }).over;
    await giver.drain();
    expect(giver.counters().leasesExpired).toBe(0);
  });

  it('leases what fits in host memory', async () => {
    const giver = await engineOf({ hostBytes: 4096 });
    expect(prefill(giver, { prompt: prompt(100) }).ticket).toMatchObject({ blocks: 1, bytes: 4096 });
    const full = prefill(giver, { prompt: prompt(100, 500) }).ticket;
    expect(full).toMatchObject({ blocks: 0, lease: '' });
  });

  it('ends leases by time', async () => {
    const clock = new FakeClock();
    const giver = await engineOf({ clock, leaseMs: 100 });
    prefill(giver);
    const draining = giver.drain();
    expect(giver.load()).toMatchObject({ leases: 1, draining: true });
    clock.advance(150);
    await draining;
    expect(giver.counters().leasesExpired).toBe(1);
  });

  it('recomputes what a dead peer does not bring, and a cancelled pull ends', async () => {
    const giver = await engineOf();
    const { ticket } = prefill(giver);
    const taker = await engineOf();
    const failed = ask(taker, { ticket: { ...ticket, lease: 'unknown' } });
    await failed.over;
    expect(failed.tokens).toEqual(ask(taker).tokens);
    expect(failed.report).toMatchObject({ computed: 40, handOff: { blocks: 0, failed: expect.any(String) } });
    const recorder = new Recorder();
    const running = (await engineOf()).generate(request({ ticket }), recorder);
    running.cancel();
    expect(recorder.reason).toBe('cancelled');
  });
});

describe('an engine that ends', () => {
  it('refuses while it drains and ends its requests when it is closed', async () => {
    const clock = new FakeClock();
    const engine = await engineOf({ clock, costs: { ...FREE_COSTS, stepFixed: 1 } });
    const running = ask(engine, { maxTokens: 100 });
    const draining = engine.drain();
    expect(ask(engine).failure).toMatchObject({ code: 'unavailable' });
    await engine.close();
    expect(running.reason).toBe('cancelled');
    await draining;
  });

  it('ends at once after a resumed end of sequence', async () => {
    const recorder = ask(await engineOf(), {
      resumed: Int32Array.of(5, 0),
      sampling: { ...request().sampling, ignoreEos: false },
    });
    expect(recorder).toMatchObject({ reason: 'stop', tokens: [] });
  });
});
