/** An engine whose every word a test says. Tokens are bytes. */
import { FREE_COSTS } from '../../api/facts/index.ts';
import type { KvEventEnvelope } from '../../kv/index.ts';
import type { SluiceError } from '../../shared/index.ts';
import type {
  EngineCore,
  EngineCounters,
  EngineInfo,
  EngineLoad,
  FinishReason,
  GenerateSink,
  HeldRequest,
  PrefillSink,
  PromptReport,
  Running,
  Session,
} from '../port.ts';

export const REPORT: PromptReport = {
  promptTokens: 2,
  reused: { hbm: 0, host: 0, peer: 0, store: 0 },
  computed: 2,
  queueMs: 0,
  prefillMs: 1,
  handOff: null,
};

const TICKET = { instance: 's-1', incarnation: 'i-1', host: '127.0.0.1', port: 1, lease: 'l', blocks: 0, bytes: 0, leaseMs: 1 };

export class ScriptedCore implements EngineCore {
  readonly info: EngineInfo = {
    instance: 's-1',
    incarnation: 'i-1',
    role: 'mixed',
    engine: 'sim',
    dialect: 'sluice',
    requestUrl: null,
    simulated: true,
    model: 'scripted',
    contextTokens: 1_000_000,
    maxSequences: 1,
    identity: { model: 'scripted', revision: '', tokenizer: '', rope: '', adapter: '', dtype: '', layout: '', blockTokens: 16 },
    bytesPerBlock: 16,
    tokenizer: { kind: 'bytes4' },
    transfer: { host: '127.0.0.1', port: 1 },
    leaseMs: null,
  };
  readonly tokenizer = {
    vocabularySize: 256,
    encode: (text: string) => Int32Array.from(Buffer.from(text)),
    encodeChat: () => Int32Array.of(1),
    piece: (token: number) => Uint8Array.of(token),
  };
  readonly listeners = new Set<(envelope: KvEventEnvelope) => void>();
  readonly #onGenerate: ((sink: GenerateSink) => void) | null;
  running: GenerateSink | null = null;
  cancelled = 0;
  stopped = 0;
  offers = 0;
  /** What an offer waits for. */
  offering: Promise<void> = Promise.resolve();
  /** Leases that were given back. */
  readonly released: string[] = [];
  held = false;
  /** Gives the held request its place. */
  place: () => void = () => undefined;
  readonly followed: number[] = [];
  snapshotSeq = 0;

  /** @param onGenerate what to answer before `generate` returns. */
  constructor(onGenerate: ((sink: GenerateSink) => void) | null = null) {
    this.#onGenerate = onGenerate;
  }

  generate(_request: unknown, sink: GenerateSink): Session {
    this.running = sink;
    this.#onGenerate?.(sink);
    return {
      cancel: () => {
        this.cancelled += 1;
      },
      offer: async () => {
        this.offers += 1;
        await this.offering;
        return TICKET;
      },
      stop: () => {
        this.stopped += 1;
      },
    };
  }

  hold(): HeldRequest {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.held = true;
    this.place = resolve;
    return {
      placed: promise,
      pull: () => Promise.resolve({ blocks: 0, bytes: 0, ms: 0, moveMs: 0, failed: null }),
      follow: async (tokens) => {
        this.followed.push(...tokens);
      },
      start: (sink) => this.generate(null, sink),
      cancel: () => {
        this.cancelled += 1;
      },
    };
  }

  prefill(_request: unknown, sink: PrefillSink): Running {
    sink.done(TICKET, REPORT);
    return { cancel: () => {} };
  }

  start(report: PromptReport): void {
    this.running?.start(report);
  }

  token(letter: string): void {
    this.running?.token(letter.charCodeAt(0), null);
  }

  bytes(bytes: readonly number[]): void {
    for (const byte of bytes) this.running?.token(byte, null);
  }

  end(reason: FinishReason): void {
    this.running?.end(reason);
  }

  fail(error: SluiceError): void {
    this.running?.error(error);
  }

  publish(seq: number, keys: readonly string[]): void {
    for (const listener of this.listeners) listener({ incarnation: 'i-1', seq, event: { type: 'stored', tier: 'hbm', keys } });
  }

  releaseLease(lease: string): void {
    this.released.push(lease);
  }

  load(): EngineLoad {
    const tier = { usedBytes: 0, cachedBytes: 0, capacityBytes: 0 };
    const kv = { hbm: tier, host: tier };
    return { running: 0, waiting: 0, pendingPrefillTokens: 0, contextTokens: 0, kv, leases: 0, draining: false, costs: FREE_COSTS };
  }

  counters(): EngineCounters {
    return {
      promptTokens: 0,
      generationTokens: 0,
      prefixQueryTokens: 0,
      prefixHitTokens: 0,
      externalQueryTokens: 0,
      externalHitTokens: 0,
      pulledBytes: 0,
      pullFailures: 0,
      leasesExpired: 0,
      preemptions: 0,
    };
  }

  snapshot() {
    return { incarnation: 'i-1', seq: this.snapshotSeq, tiers: {} };
  }

  onEvent(listener: (envelope: KvEventEnvelope) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  async drain(): Promise<void> {}

  async close(): Promise<void> {}
}
