/** `EngineCore` on llama.cpp: takes requests, pulls KV for them, gives leases out, and tells what it holds. */
import { randomUUID } from 'node:crypto';
import { availableParallelism } from 'node:os';
import {
  GROUP_BYTES,
  HostTier,
  type KvEvent,
  type KvEventEnvelope,
  type KvIdentity,
  type KvSnapshot,
  pullSlabBytes,
  type StoreTier,
  TransferPool,
  TransferServer,
} from '../../kv/index.ts';
import { SluiceError } from '../../shared/index.ts';
import { lineWaitMs } from '../costs/index.ts';
import { ContextPins } from '../pins.ts';
import type {
  EngineCore,
  EngineCounters,
  EngineInfo,
  EngineLoad,
  EngineRequest,
  GenerateSink,
  HandOffTicket,
  HeldRequest,
  KvVerdict,
  PrefillSink,
  PromptReport,
  Running,
  Session,
} from '../port.ts';
import { ChainSeeds } from '../seeds.ts';
import { openStoreTier, storeCounts, storedKeys, storeLoad, storeName, verifyKv } from '../stores.ts';
import { KvCache } from './cache.ts';
import { LlamaContext } from './context.ts';
import { CostMeter } from './costs.ts';
import { kvIdentity, loadModel, type Model } from './model.ts';
import { Moves, overSession } from './moves.ts';
import { Onboarding } from './onboarding.ts';
import { budgetTokens, type LlamaCppOptions } from './options.ts';
import { Scheduler } from './scheduler.ts';
import { type Leg, Sequence } from './sequence.ts';
import { Slabs } from './slabs.ts';
import { blockBytes, layoutName, type StateLayout, stateBytes } from './statelayout.ts';
import { GgufTokenizer } from './tokenizer.ts';
import { warmUpTransfer } from './transferwarmup.ts';
import { warmUp } from './warmup.ts';

const MAX_WAITING = 1024;
const SLABS_KEPT_BYTES = 64 << 20;

/** Loads the model, measures it, and starts serving. Throws SluiceError naming the option at fault. */
export async function createLlamaCppEngine(options: LlamaCppOptions): Promise<EngineCore> {
  const model = loadModel(options.modelPath, { vocabularyOnly: false });
  if (options.contextTokens > model.trainedContext) {
    throw new SluiceError(
      'invalid_request',
      `context of ${options.contextTokens} tokens: the model was made for at most ${model.trainedContext}`,
      { param: 'engine.contextTokens' },
    );
  }
  const context = new LlamaContext(model, { contextTokens: options.contextTokens, sequences: options.maxSequences });
  const costs = new CostMeter();
  const layout = await warmUp(context, costs, { contextTokens: options.contextTokens, clock: options.clock });
  const engine = new LlamaCppEngine(options, { model, context, costs, layout });
  await engine.listen();
  await warmUpTransfer(costs, { bytesPerBlock: engine.info.bytesPerBlock, blockTokens: options.blockTokens, clock: options.clock });
  costs.calibrate();
  if (availableParallelism() < 2) options.onWarning('one processor only: the engine shares it with everything else');
  return engine;
}

interface Parts {
  readonly model: Model;
  readonly context: LlamaContext;
  readonly costs: CostMeter;
  readonly layout: StateLayout;
}

class LlamaCppEngine implements EngineCore {
  readonly tokenizer: GgufTokenizer;
  readonly pins: ContextPins;
  readonly #options: LlamaCppOptions;
  readonly #parts: Parts;
  readonly #identity: KvIdentity;
  readonly #incarnation = randomUUID();
  readonly #hostTier: HostTier;
  readonly #cache: KvCache;
  readonly #storeTier: StoreTier | null;
  readonly #onboarding: Onboarding | null;
  readonly #scheduler: Scheduler;
  readonly #moves: Moves;
  readonly #transfers: TransferPool;
  readonly #server: TransferServer;
  readonly #listeners = new Set<(envelope: KvEventEnvelope) => void>();
  readonly #seeds: ChainSeeds;
  readonly #fetching = new Set<Sequence>();
  readonly #slabs = new Slabs(SLABS_KEPT_BYTES);
  readonly #counters = {
    promptTokens: 0,
    generationTokens: 0,
    prefixQueryTokens: 0,
    prefixHitTokens: 0,
    externalQueryTokens: 0,
    externalHitTokens: 0,
    pulledBytes: 0,
    pullFailures: 0,
    preemptions: 0,
  };
  #transfer = { host: '', port: 0 };
  #sequenceNumber = 0;
  #draining = false;
  #closing: Promise<void> | null = null;

  constructor(options: LlamaCppOptions, parts: Parts) {
    const { model, context, layout } = parts;
    this.#options = options;
    this.#parts = parts;
    this.tokenizer = new GgufTokenizer(model);
    this.#identity = kvIdentity(model, options.modelPath, { layout: layoutName(layout), blockTokens: options.blockTokens });
    this.#seeds = new ChainSeeds(this.#identity);
    // What leaves host memory goes to the store in groups, if there is one.
    const evictBytes = options.store ? GROUP_BYTES.wanted : 0;
    this.#hostTier = new HostTier({ capacityBytes: options.hostBytes, clock: options.clock, evictBytes });
    this.#hostTier.onChange((change) => {
      if (change.type === 'cleared') return this.#emit({ type: 'cleared' });
      if (change.evicted.length > 0) this.#storeTier?.offload(change.evicted);
      if (change.removed.length > 0) this.#emit({ type: 'removed', tier: 'host', keys: change.removed });
      if (change.stored.length > 0) this.#emit({ type: 'stored', tier: 'host', keys: change.stored });
    });
    this.#cache = new KvCache({
      context,
      layout,
      sequences: options.maxSequences,
      blockTokens: options.blockTokens,
      budgetTokens: budgetTokens(options, blockBytes(layout, 1)),
      host: this.#hostTier,
      slabs: this.#slabs,
      emit: (event) => this.#emit(event),
      now: () => options.clock.now(),
    });
    const costs = () => parts.costs.costs();
    const shape = { blockTokens: options.blockTokens, bytesPerBlock: this.#cache.bytesPerBlock };
    const emit = (event: KvEvent) => this.#emit(event);
    this.#storeTier = options.store ? openStoreTier(options.store, { ...options, shape, costs, emit }) : null;
    this.#onboarding =
      this.#storeTier && new Onboarding({ tier: this.#storeTier, costs, resident: (sequence) => this.#cache.residentBlocks(sequence) });
    const blocks = Math.ceil(options.contextTokens / options.blockTokens);
    // One to receive the longest prompt into, one to put its state together in.
    this.#slabs.reserve(pullSlabBytes(blocks, options.blockTokens, this.#cache.bytesPerBlock));
    this.#slabs.reserve(stateBytes(layout, options.contextTokens));
    this.#scheduler = new Scheduler({
      context,
      cache: this.#cache,
      costs: parts.costs,
      clock: options.clock,
      isEndOfGeneration: (token) => this.tokenizer.isEndOfGeneration(token),
      finishPrefill: (sequence, report) => this.#finishPrefill(sequence, report),
      count: (what, by) => {
        this.#counters[what] += by;
      },
    });
    this.#moves = new Moves({
      scheduler: this.#scheduler,
      cache: this.#cache,
      blockTokens: options.blockTokens,
      now: () => options.clock.now(),
      ticketFor: (keys) => this.#ticketFor(keys),
      releaseLease: (lease) => this.releaseLease(lease),
      pull: (sequence, ticket, bounds) => this.#pull(sequence, ticket, bounds),
    });
    const tiers = { host: this.#hostTier, store: this.#storeTier };
    this.pins = new ContextPins({ ...shape, ...tiers, clock: options.clock, seeds: this.#seeds, engine: this });
    this.#transfers = new TransferPool({ clock: options.clock, bytesPerSecondPerPeer: null });
    this.#server = new TransferServer({
      source: { block: (key) => this.#hostTier.peek(key) },
      leases: { renew: (id) => this.#hostTier.renew(id), release: (id) => void this.#hostTier.release(id) },
      clock: options.clock,
      bytesPerSecondPerPeer: null,
    });
  }

  async listen(): Promise<void> {
    this.#transfer = await this.#server.listen({ host: this.#options.host, port: 0 });
  }

  get info(): EngineInfo {
    const { instance, role, modelName, modelPath, contextTokens, maxSequences } = this.#options;
    return {
      instance,
      incarnation: this.#incarnation,
      role,
      engine: 'llamacpp',
      dialect: 'sluice',
      requestUrl: null,
      simulated: false,
      model: modelName,
      contextTokens,
      maxSequences,
      identity: this.#identity,
      bytesPerBlock: this.#cache.bytesPerBlock,
      tokenizer: { kind: 'gguf', path: modelPath },
      transfer: this.#transfer,
      leaseMs: this.#options.leaseMs,
      ...storeName(this.#storeTier),
    };
  }

  generate(request: EngineRequest, sink: GenerateSink): Session {
    return this.#submit(request, { kind: 'generate', sink });
  }

  prefill(request: EngineRequest, sink: PrefillSink): Running {
    return this.#submit(request, { kind: 'prefill', sink });
  }

  hold(request: EngineRequest): HeldRequest {
    return this.#moves.hold((sink) => this.#refusal(request) ?? this.#sequence(request, { kind: 'generate', sink }));
  }

  #submit(request: EngineRequest, leg: Leg): Session {
    const refusal = this.#refusal(request);
    if (refusal) {
      queueMicrotask(() => leg.sink.error(refusal));
      return overSession();
    }
    const sequence = this.#sequence(request, leg);
    const ticket = leg.kind === 'generate' ? request.ticket : null;
    const line = lineWaitMs(this.#scheduler.burden(), this.#options.maxSequences);
    sequence.fetching = ticket !== null || this.#onboarding !== null;
    this.#scheduler.enqueue(sequence);
    if (sequence.fetching) void this.#fetch(sequence, ticket, line);
    return this.#moves.session(sequence);
  }

  #sequence(request: EngineRequest, leg: Leg): Sequence {
    const { blockTokens, contextTokens, clock } = this.#options;
    return new Sequence(request, leg, { seed: this.#seeds.of(request.salt), blockTokens, contextTokens, now: clock.now() });
  }

  #refusal(request: EngineRequest): SluiceError | null {
    const given = request.prompt.length + request.resumed.length;
    if (this.#draining) return new SluiceError('unavailable', 'this instance drains and takes no new requests');
    if (given === 0) return new SluiceError('invalid_request', 'prompt is empty: expected at least one token', { param: 'prompt' });
    if (given >= this.#options.contextTokens) {
      return new SluiceError(
        'context_length_exceeded',
        `prompt of ${given} tokens leaves no room in the context of ${this.#options.contextTokens}`,
        { param: 'prompt' },
      );
    }
    if (this.#scheduler.waiting.length >= MAX_WAITING) {
      return new SluiceError('queue_full', `${MAX_WAITING} requests wait on this instance already`, { retryAfterSeconds: 1 });
    }
    return null;
  }

  /** While it waits in the line. */
  async #fetch(sequence: Sequence, ticket: HandOffTicket | null, lineMs: number): Promise<void> {
    this.#fetching.add(sequence);
    const { clock } = this.#options;
    const endAt = clock.now() + sequence.request.pullDeadlineMs;
    const leftMs = () => Math.max(0, endAt - clock.now());
    try {
      await this.#onboarding?.run(sequence, ticket, { deadlineMs: leftMs(), lineMs });
      const bounds = { from: this.#cache.residentBlocks(sequence), deadlineMs: leftMs() };
      if (ticket && ticket.blocks > 0) await this.#pull(sequence, ticket, bounds);
      if (ticket && ticket.blocks < sequence.reusableBlocks)
        await this.#onboarding?.run(sequence, null, { deadlineMs: leftMs(), lineMs: 0 });
    } finally {
      this.#fetching.delete(sequence);
      this.#scheduler.fetched(sequence);
    }
  }

  async #pull(sequence: Sequence, ticket: HandOffTicket, { from, deadlineMs }: { from: number; deadlineMs: number }): Promise<void> {
    const { blockTokens, instance: peer } = this.#options;
    const to = Math.max(from, Math.min(ticket.blocks, sequence.reusableBlocks));
    const { pulled } = sequence;
    const { bytesPerBlock } = this.#cache;
    const { host, port, lease } = ticket;
    if (to === from) return this.#transfers.release({ host, port, lease, blockTokens, bytesPerBlock, peer });
    const slab = this.#slabs.take(pullSlabBytes(to - from, blockTokens, bytesPerBlock));
    sequence.onPulledUsed = () => this.#slabs.release(slab);
    const result = await this.#transfers.pull({
      host,
      port,
      lease,
      keys: sequence.keys.slice(from, to),
      tokens: sequence.tokens.subarray(from * blockTokens, to * blockTokens),
      blockTokens,
      bytesPerBlock,
      slab,
      deadlineMs,
      signal: sequence.abort.signal,
      peer,
      onBlock: (index, block) => pulled.set(from + index, block),
    });
    sequence.pullResult = result;
    this.#counters.pulledBytes += result.bytes;
    if (result.failed) this.#counters.pullFailures += 1;
    else if (result.bytes > 0) this.#parts.costs.pulled(result.bytes, result.ms);
  }

  #finishPrefill(sequence: Sequence, report: PromptReport): void {
    const started = this.#options.clock.now();
    const kept = this.#cache.keepInHost(sequence, sequence.reusableBlocks);
    const ticket = this.#ticketFor(sequence.keys.slice(0, kept));
    const { blocks, bytes } = ticket;
    const missing = sequence.reusableBlocks - blocks;
    const failed = missing > 0 ? `${missing} blocks found no room in host memory` : null;
    const { sink } = sequence.leg;
    if ('done' in sink)
      sink.done(ticket, { ...report, handOff: { blocks, bytes, ms: this.#options.clock.now() - started, moveMs: 0, failed } });
  }

  /** Leases those of the keys that host memory holds, from the first on. */
  #ticketFor(keys: readonly string[]): HandOffTicket {
    const { instance, leaseMs } = this.#options;
    const lease = keys.length > 0 ? this.#hostTier.lease(keys, leaseMs) : null;
    const blocks = lease?.keys.length ?? 0;
    const bytes = blocks * this.#cache.bytesPerBlock;
    return { instance, incarnation: this.#incarnation, ...this.#transfer, lease: lease?.id ?? '', blocks, bytes, leaseMs };
  }

  releaseLease(lease: string): void {
    this.#hostTier.release(lease);
  }

  load(): EngineLoad {
    const hbm = { ...this.#cache.load(), capacityBytes: this.#options.hbmBytes };
    return {
      ...this.#scheduler.burden(),
      kv: { hbm, host: this.#hostTier.load(), ...storeLoad(this.#storeTier) },
      leases: this.#hostTier.leases,
      draining: this.#draining,
    };
  }

  counters(): EngineCounters {
    return { ...this.#counters, leasesExpired: this.#hostTier.leasesExpired, ...storeCounts(this.#storeTier) };
  }

  snapshot(): KvSnapshot {
    return {
      incarnation: this.#incarnation,
      seq: this.#sequenceNumber,
      tiers: { hbm: this.#cache.keysInHbm(), host: this.#hostTier.keys(), ...storedKeys(this.#storeTier) },
    };
  }

  onEvent(listener: (envelope: KvEventEnvelope) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #emit(event: KvEvent): void {
    this.#sequenceNumber += 1;
    const envelope = { incarnation: this.#incarnation, seq: this.#sequenceNumber, event };
    for (const listener of this.#listeners) listener(envelope);
  }

  async drain(): Promise<void> {
    this.#draining = true;
    this.pins.clear();
    while (this.#scheduler.running.length + this.#scheduler.waiting.length + this.#hostTier.leases > 0) {
      await new Promise<void>((resolve) => this.#options.clock.after(20, resolve));
    }
  }

  verify(): Promise<KvVerdict> {
    return verifyKv(this.#hostTier, this.#storeTier);
  }

  close(): Promise<void> {
    // What is freed twice ends the process.
    this.#closing ??= this.#end();
    return this.#closing;
  }

  async #end(): Promise<void> {
    this.#draining = true;
    this.pins.clear();
    for (const sequence of this.#fetching) sequence.abort.abort();
    await this.#scheduler.close();
    this.#transfers.close();
    await this.#storeTier?.close();
    await this.#server.close();
    this.#parts.context.close();
    this.#parts.model.close();
  }
}
