/** A simulated engine: no model, declared timings, real KV names, events, leases and hand-off. */
import { randomUUID } from 'node:crypto';
import { TransferServer, type TransferServerOptions } from '../../kv/index.ts';
import { SluiceError } from '../../shared/index.ts';
import type {
  EngineCore,
  EngineCosts,
  EngineCounters,
  EngineInfo,
  EngineLoad,
  EngineRequest,
  GenerateSink,
  HandOffTicket,
  KvVerdict,
  PrefillSink,
  Running,
} from '../port.ts';
import { ChainSeeds } from '../seeds.ts';
import { storeCounts, storeLoad, verifyKv } from '../stores.ts';
import { DEFAULT_SIM_COSTS } from './costs.ts';
import { simIdentity } from './identity.ts';
import { SimKv } from './kv.ts';
import { NixlPuller } from './nixl/puller.ts';
import { onboard } from './onboard.ts';
import type { SimOptions } from './options.ts';
import { Puller } from './pull.ts';
import { Scheduler } from './scheduler.ts';
import { Sequence, type SequenceEvents } from './sequence.ts';
import { bytes4Tokenizer, END_TOKEN } from './tokenizer.ts';

type Settings = Required<Omit<SimOptions, 'costs'>> & { readonly costs: EngineCosts };

/** What vLLM's face needs besides. */
export interface SimCore extends EngineCore {
  /** As `generate`; with `keepAs` the prompt's HBM stays for a peer, under that name, when the request ends by itself. */
  generate(request: SimRequest, sink: GenerateSink): Running;
  /** Tells a peer that nobody is going to read what it keeps. */
  notify(ticket: HandOffTicket): void;
  /** Ends the engine's core for good, as params that do not fit do: every request fails from now on. */
  die(): void;
  readonly dead: boolean;
  nixlCounters(): NixlCounters;
  /** Calls back for every pull: KV bytes and milliseconds. */
  onPulled(listener: (bytes: number, ms: number) => void): void;
}

export interface SimRequest extends EngineRequest {
  readonly keepAs?: string | null;
}

export interface NixlCounters {
  readonly failedNotifications: number;
  readonly notificationsAfterExpiry: number;
}

const DEFAULTS = {
  host: '127.0.0.1',
  contextTokens: 8192,
  maxSequences: 64,
  blockTokens: 16,
  bytesPerBlock: 4096,
  hbmBytes: 64 * 2 ** 20,
  hostBytes: 64 * 2 ** 20,
  leaseMs: 30_000,
  dialect: 'sluice',
  sideChannelTimeoutMs: 5_000,
  onDeath: () => {},
  maxWaiting: 4096,
  chunkTokens: 2048,
  transfer: 'tcp',
  store: null,
} as const;

/** How often a draining engine looks whether its last lease is over. */
const LEASE_LOOK_MS = 50;

/**
 * Starts a simulated engine and its transfer server.
 * @throws RangeError when HBM does not hold one whole context
 */
export async function createSimEngine(options: SimOptions): Promise<SimCore> {
  const given = { ...DEFAULTS, incarnation: randomUUID(), ...options, costs: { ...DEFAULT_SIM_COSTS, ...options.costs } };
  const settings: Settings = given.dialect === 'nixl' ? { ...given, hostBytes: 0 } : given;
  const { contextTokens, blockTokens, bytesPerBlock, hbmBytes } = settings;
  const neededBytes = Math.ceil(contextTokens / blockTokens) * bytesPerBlock;
  if (hbmBytes < neededBytes) {
    throw new RangeError(`hbmBytes (--hbm-bytes): one context of ${contextTokens} tokens needs ${neededBytes} bytes, got ${hbmBytes}`);
  }
  const kv = new SimKv(settings);
  const server = new TransferServer({ ...served(kv, settings), clock: settings.clock, bytesPerSecondPerPeer: null });
  const transfer = await server.listen({ host: settings.host, port: 0 });
  return new SimEngine(settings, kv, { server, host: transfer.host, port: transfer.port });
}

/** What peers can read, and how long it stays. */
function served(kv: SimKv, { dialect, incarnation }: Settings): Pick<TransferServerOptions, 'source' | 'leases'> {
  if (dialect === 'sluice') {
    return {
      source: { block: (key) => kv.host.peek(key) },
      leases: { renew: (id) => kv.host.renew(id), release: (id) => void kv.host.release(id) },
    };
  }
  const mine = `${incarnation}/`;
  return {
    source: { block: (key) => kv.hbm.peek(key) },
    // As in vLLM, whoever knows this engine may read, in time or not.
    leases: {
      renew: (id) => {
        kv.pins.renew(id.slice(mine.length));
        return id.startsWith(mine);
      },
      release: (id) => kv.pins.release(id.slice(mine.length)),
    },
  };
}

/** A request that is not over. */
interface Active extends Running {
  fail(error: SluiceError): void;
}

class SimEngine implements SimCore {
  readonly info: EngineInfo;
  readonly tokenizer = bytes4Tokenizer;
  readonly #settings: Settings;
  readonly #kv: SimKv;
  readonly #server: TransferServer;
  readonly #scheduler: Scheduler;
  readonly #puller: Puller | NixlPuller;
  readonly #active = new Map<Sequence, Active>();
  readonly #seeds: ChainSeeds;
  #onPulled: (bytes: number, ms: number) => void = () => {};
  dead = false;
  #draining = false;
  #drained: (() => void)[] = [];

  constructor(settings: Settings, kv: SimKv, transfer: { server: TransferServer; host: string; port: number }) {
    this.#settings = settings;
    this.#kv = kv;
    this.#server = transfer.server;
    const { instance, incarnation, role, dialect, modelName, contextTokens, maxSequences, bytesPerBlock } = settings;
    this.info = {
      instance,
      incarnation,
      role,
      engine: 'sim',
      dialect,
      requestUrl: null,
      simulated: true,
      model: modelName,
      contextTokens,
      maxSequences,
      identity: simIdentity(settings),
      bytesPerBlock,
      tokenizer: { kind: 'bytes4' },
      transfer: { host: transfer.host, port: transfer.port },
      leaseMs: settings.leaseMs,
    };
    this.#seeds = new ChainSeeds(this.info.identity);
    this.#scheduler = new Scheduler({ ...settings, kv, onOver: (sequence) => this.#over(sequence) });
    kv.pins.onFreed = () => this.#scheduler.wake();
    const nixl = { onDeadly: () => this.die(), onPulled: (bytes: number, ms: number) => this.#onPulled(bytes, ms) };
    this.#puller =
      dialect === 'nixl' ? new NixlPuller({ ...settings, ...nixl, peer: instance }) : new Puller({ ...settings, peer: instance });
  }

  generate(request: SimRequest, sink: GenerateSink): Running {
    const { keepAs = null } = request;
    const events: SequenceEvents = {
      start: (report) => sink.start(report),
      prefilled: () => false,
      token: (token, logprobs) => sink.token(token, logprobs),
      ending: (sequence) => {
        if (keepAs !== null) this.#kv.pins.hold(keepAs, sequence.detach(this.#kv));
      },
      end: (reason) => sink.end(reason),
      error: (error) => sink.error(error),
    };
    return this.#take(request, events);
  }

  prefill(request: EngineRequest, sink: PrefillSink): Running {
    const events: SequenceEvents = {
      start: () => {},
      prefilled: (sequence) => {
        sink.done(this.#ticket(sequence), sequence.report(this.#settings.clock.now()));
        return true;
      },
      token: () => {},
      ending: () => {},
      end: () => sink.error(new SluiceError('unavailable', 'the prefill was cancelled')),
      error: (error) => sink.error(error),
    };
    return this.#take(request, events);
  }

  releaseLease(lease: string): void {
    this.#kv.host.release(lease);
  }

  notify(ticket: HandOffTicket): void {
    if (this.#puller instanceof NixlPuller) this.#puller.notify(ticket);
  }

  die(): void {
    if (this.dead) return;
    this.dead = true;
    for (const running of this.#active.values()) running.fail(deadError());
    this.#settings.onDeath();
  }

  nixlCounters(): NixlCounters {
    const failedNotifications = this.#puller instanceof NixlPuller ? this.#puller.failedNotifications : 0;
    return { failedNotifications, notificationsAfterExpiry: this.#kv.pins.late };
  }

  onPulled(listener: (bytes: number, ms: number) => void): void {
    this.#onPulled = listener;
  }

  load(): EngineLoad {
    const { bytesPerBlock, costs } = this.#settings;
    const { running } = this.#scheduler;
    const { hbm, host } = this.#kv;
    let pendingPrefillTokens = 0;
    let contextTokens = 0;
    for (const sequence of this.#active.keys()) {
      if (sequence.decoding) contextTokens += sequence.length;
      else pendingPrefillTokens += sequence.target - Math.max(sequence.computed, sequence.expected);
    }
    return {
      running: running.length,
      waiting: this.#active.size - running.length,
      pendingPrefillTokens,
      contextTokens,
      kv: {
        hbm: { usedBytes: hbm.inUse * bytesPerBlock, cachedBytes: hbm.cached * bytesPerBlock, capacityBytes: hbm.capacity * bytesPerBlock },
        host: host.load(),
        ...storeLoad(this.#kv.store),
      },
      leases: this.#leases,
      draining: this.#draining,
      costs,
    };
  }

  counters(): EngineCounters {
    const { promptTokens, generationTokens, prefixQueryTokens, prefixHitTokens, preemptions } = this.#scheduler;
    const leasesExpired = this.#kv.host.leasesExpired + this.#kv.pins.expired;
    return {
      promptTokens,
      generationTokens,
      prefixQueryTokens,
      prefixHitTokens,
      preemptions,
      leasesExpired,
      ...this.#puller.counters(),
      ...storeCounts(this.#kv.store),
    };
  }

  snapshot() {
    return this.#kv.snapshot();
  }

  onEvent(listener: Parameters<EngineCore['onEvent']>[0]) {
    return this.#kv.onEvent(listener);
  }

  drain(): Promise<void> {
    this.#draining = true;
    return new Promise((resolve) => {
      this.#drained.push(resolve);
      this.#lookDrained();
    });
  }

  async close(): Promise<void> {
    this.#draining = true;
    for (const running of this.#active.values()) running.cancel();
    this.#scheduler.stop();
    this.#kv.host.clear();
    this.#kv.pins.clear();
    this.#lookDrained();
    await this.#kv.store?.close();
    await this.#server.close();
  }

  verify(): Promise<KvVerdict> {
    return verifyKv(this.#kv.host, this.#kv.store);
  }

  #take(request: EngineRequest, events: SequenceEvents): Running {
    const refused = this.#refusal(request);
    if (refused) {
      events.error(refused);
      return { cancel: () => {} };
    }
    const { clock, blockTokens } = this.#settings;
    const sequence = new Sequence({ request, events, seed: this.#seeds.of(request.salt), blockTokens, arrivedAt: clock.now() });
    if (request.resumed.at(-1) === END_TOKEN && !request.sampling.ignoreEos) {
      events.start(sequence.report(clock.now()));
      events.end('stop');
      return { cancel: () => {} };
    }
    const abort = new AbortController();
    const stop = (tell: () => void) => {
      if (sequence.over) return;
      abort.abort();
      this.#scheduler.remove(sequence);
      tell();
    };
    const running = { cancel: () => stop(() => events.end('cancelled')), fail: (error: SluiceError) => stop(() => events.error(error)) };
    this.#active.set(sequence, running);
    const local = this.#kv.match(sequence.keys, sequence.tokens).length;
    sequence.expect(local);
    const { ticket } = request;
    if (this.#kv.store === null && (ticket === null || ticket.blocks === 0)) this.#scheduler.submit(sequence);
    else this.#fetchThenSubmit(sequence, local, abort.signal);
    return running;
  }

  #fetchThenSubmit(sequence: Sequence, local: number, signal: AbortSignal): void {
    this.#fetch(sequence, local, signal)
      .then(() => {
        if (sequence.over) return;
        sequence.expect(sequence.pulled?.to ?? sequence.onboarded?.to ?? local);
        this.#scheduler.submit(sequence);
      })
      .catch((thrown: unknown) => {
        if (sequence.over) return;
        this.#scheduler.remove(sequence);
        sequence.events.error(new SluiceError('internal', 'internal error', { cause: thrown }));
      });
  }

  /** From the store what is faster read than computed or pulled, then from the peer the rest. */
  async #fetch(sequence: Sequence, local: number, signal: AbortSignal): Promise<void> {
    const { ticket } = sequence.request;
    const { store } = this.#kv;
    if (store !== null) sequence.onboarded = await onboard(store, { sequence, local, costs: this.#settings.costs, signal });
    if (ticket !== null && ticket.blocks > 0) sequence.pulled = await this.#puller.pull(sequence, sequence.onboarded?.to ?? local, signal);
  }

  #refusal(request: EngineRequest): SluiceError | null {
    const { maxWaiting, contextTokens } = this.#settings;
    if (this.dead) return deadError();
    if (this.#draining) return new SluiceError('unavailable', 'the engine drains and takes no new requests', { retryAfterSeconds: 1 });
    if (this.#active.size - this.#scheduler.running.length >= maxWaiting) {
      return new SluiceError('queue_full', `${maxWaiting} requests are waiting already`, { retryAfterSeconds: 1 });
    }
    if (request.prompt.length + request.sampling.maxTokens > contextTokens) {
      const message = `prompt (${request.prompt.length}) and max_tokens (${request.sampling.maxTokens}) exceed the context of ${contextTokens} tokens`;
      return new SluiceError('context_length_exceeded', message);
    }
    return null;
  }

  #ticket(sequence: Sequence) {
    const { instance, incarnation, transfer } = this.info;
    const { blockTokens, bytesPerBlock, leaseMs } = this.#settings;
    const count = Math.floor(sequence.request.prompt.length / blockTokens);
    const blocks = Array.from({ length: count }, (_, index) => sequence.block(this.#kv, index));
    const lease = this.#kv.lease(blocks, leaseMs);
    const held = lease?.keys.length ?? 0;
    return { instance, incarnation, ...transfer, lease: lease?.id ?? '', blocks: held, bytes: held * bytesPerBlock, leaseMs };
  }

  get #leases(): number {
    return this.#kv.host.leases + this.#kv.pins.size;
  }

  #over(sequence: Sequence): void {
    this.#active.delete(sequence);
    this.#lookDrained();
  }

  #lookDrained(): void {
    if (this.#drained.length === 0 || this.#active.size > 0) return;
    if (this.#leases > 0) {
      this.#settings.clock.after(LEASE_LOOK_MS, () => this.#lookDrained());
      return;
    }
    const drained = this.#drained;
    this.#drained = [];
    for (const resolve of drained) resolve();
  }
}

function deadError(): SluiceError {
  return new SluiceError('engine_failed', 'the core of the engine is dead');
}
