/** A simulated engine: no model, declared timings, real KV names, events, leases and hand-off. */
import { randomUUID } from 'node:crypto';
import { TransferServer } from '../../kv/index.ts';
import { SluiceError } from '../../shared/index.ts';
import { type Burden, lineWaitMs } from '../costs/index.ts';
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
  Running,
  Session,
} from '../port.ts';
import { ChainSeeds } from '../seeds.ts';
import { storeCounts, storeLoad, storeName, verifyKv } from '../stores.ts';
import { Rooms } from './bootstrap/rooms.ts';
import { DEFAULT_SIM_COSTS } from './costs.ts';
import { simIdentity } from './identity.ts';
import { SimKv } from './kv.ts';
import { hold, overSession } from './moves.ts';
import { NixlPuller } from './nixl/puller.ts';
import { type AsOfNow, onboard } from './onboard.ts';
import { DEFAULTS, type SimOptions } from './options.ts';
import { Puller } from './pull.ts';
import { deadError, refusalOf } from './refusal.ts';
import { Scheduler } from './scheduler.ts';
import { type Pulled, Sequence, type SequenceEvents, SILENT } from './sequence.ts';
import { type Reached, type Settings, served } from './served.ts';
import type { NixlCounters, SimCore, SimRequest } from './simcore.ts';
import { bytes4Tokenizer, END_TOKEN } from './tokenizer.ts';

/** How often a draining engine looks whether its last lease is over. */
const LEASE_LOOK_MS = 50;

/**
 * Starts a simulated engine and its transfer server.
 * @throws RangeError when HBM does not hold one whole context
 */
export async function createSimEngine(options: SimOptions): Promise<SimCore> {
  const given = { ...DEFAULTS, incarnation: randomUUID(), ...options, costs: { ...DEFAULT_SIM_COSTS, ...options.costs } };
  const settings: Settings = given.dialect === 'sluice' ? given : { ...given, hostBytes: 0 };
  const { contextTokens, blockTokens, bytesPerBlock, hbmBytes } = settings;
  const neededBytes = Math.ceil(contextTokens / blockTokens) * bytesPerBlock;
  if (hbmBytes < neededBytes) {
    throw new RangeError(`hbmBytes (--hbm-bytes): one context of ${contextTokens} tokens needs ${neededBytes} bytes, got ${hbmBytes}`);
  }
  const kv = new SimKv(settings);
  const server = new TransferServer({ ...served(kv, settings), clock: settings.clock, bytesPerSecondPerPeer: null });
  const transfer = await server.listen({ host: settings.host, port: 0 });
  const rooms =
    settings.dialect === 'bootstrap' && settings.role === 'prefill' ? new Rooms({ ...settings, pins: kv.pins, transfer }) : null;
  const { host, port } = (await rooms?.listen(settings.host)) ?? transfer;
  return new SimEngine(settings, kv, { server, rooms, host, port });
}

/** A request that is not over. */
interface Active extends Session {
  fail(error: SluiceError): void;
}

class SimEngine implements SimCore {
  readonly info: EngineInfo;
  readonly tokenizer = bytes4Tokenizer;
  /** Engines of others keep their host memory themselves. */
  readonly pins?: ContextPins;
  readonly #settings: Settings;
  readonly #kv: SimKv;
  readonly #server: TransferServer;
  readonly #scheduler: Scheduler;
  readonly #puller: Puller | NixlPuller;
  readonly #kept = new Set<HeldRequest>();
  readonly #active = new Map<Sequence, Active>();
  readonly #seeds: ChainSeeds;
  #onPulled: (bytes: number, ms: number) => void = () => {};
  readonly rooms: Rooms | null;
  dead = false;
  #draining = false;
  #drained: (() => void)[] = [];

  constructor(settings: Settings, kv: SimKv, transfer: Reached) {
    this.#settings = settings;
    this.#kv = kv;
    this.#server = transfer.server;
    this.rooms = transfer.rooms;
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
      ...storeName(kv.store),
    };
    this.#seeds = new ChainSeeds(this.info.identity);
    this.#scheduler = new Scheduler({ ...settings, kv, kept: () => this.#kept.size, onOver: (sequence) => this.#over(sequence) });
    if (dialect === 'sluice')
      this.pins = new ContextPins({ ...settings, host: kv.host, store: kv.store, seeds: this.#seeds, engine: this });
    kv.pins.onFreed = () => this.#scheduler.wake();
    const nixl = {
      onDeadly: () => (dialect === 'nixl' ? this.die() : undefined),
      onPulled: (bytes: number, ms: number) => this.#onPulled(bytes, ms),
    };
    this.#puller =
      dialect === 'sluice' ? new Puller({ ...settings, peer: instance }) : new NixlPuller({ ...settings, ...nixl, peer: instance });
  }

  generate(request: SimRequest, sink: GenerateSink): Session {
    return this.#generate(request, sink, null);
  }

  hold(request: EngineRequest): HeldRequest {
    const { maxSequences } = this.#settings;
    const { running, waiting } = this.#scheduler;
    const full = running.length + waiting.filter(({ fetching }) => !fetching).length + this.#kept.size >= maxSequences;
    const crowded = () =>
      new SluiceError('queue_full', 'this instance has no place for a request of another one', { retryAfterSeconds: 1 });
    return hold({
      request,
      refusal: this.#refusal(request) ?? (full ? crowded() : null),
      kept: this.#kept,
      pull: (ask, signal) => this.#pullAhead(ask, signal),
      start: (ask, sink, pulled) => this.#generate(ask, sink, pulled),
      onLeft: () => {
        this.#scheduler.wake();
        this.#lookDrained();
      },
    });
  }

  async #pullAhead(request: EngineRequest, signal: AbortSignal): Promise<Pulled | null> {
    const sequence = this.#sequence(request, null);
    const local = this.#kv.match(sequence.keys, sequence.tokens).length;
    return this.#puller.pull(sequence, { local, deadlineMs: request.pullDeadlineMs }, signal);
  }

  #generate(request: SimRequest, sink: GenerateSink, pulled: Pulled | null): Session {
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
    return this.#take(request, events, pulled);
  }

  prefill(request: EngineRequest, sink: PrefillSink): Running {
    const events: SequenceEvents = {
      start: () => {},
      prefilled: (sequence) => {
        sink.done(this.#ticket(sequence, sequence.request.prompt.length), sequence.report(this.#settings.clock.now()));
        return true;
      },
      token: () => {},
      ending: () => {},
      end: () => sink.error(new SluiceError('unavailable', 'the prefill was cancelled')),
      error: (error) => sink.error(error),
    };
    return this.#take(request, events, null);
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
    return {
      ...this.#burden(),
      kv: { ...this.#kv.load(), ...storeLoad(this.#kv.store) },
      leases: this.#leases,
      draining: this.#draining,
    };
  }

  #burden(): Burden {
    const { running } = this.#scheduler;
    let pendingPrefillTokens = 0;
    let contextTokens = 0;
    for (const sequence of this.#active.keys()) {
      if (sequence.decoding) contextTokens += sequence.length;
      else pendingPrefillTokens += sequence.target - Math.max(sequence.computed, sequence.expected);
    }
    const waiting = this.#active.size - running.length;
    return { running: running.length, waiting, pendingPrefillTokens, contextTokens, costs: this.#settings.costs };
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
    this.pins?.clear();
    return new Promise((resolve) => {
      this.#drained.push(resolve);
      this.#lookDrained();
    });
  }

  async close(): Promise<void> {
    this.#draining = true;
    this.pins?.clear();
    for (const running of this.#active.values()) running.cancel();
    this.#scheduler.stop();
    this.#kv.host.clear();
    this.#kv.pins.clear();
    this.#lookDrained();
    await this.#kv.store?.close();
    await this.rooms?.close();
    await this.#server.close();
  }

  verify(): Promise<KvVerdict> {
    return verifyKv(this.#kv.host, this.#kv.store);
  }

  /** @param pulled what came from a peer already */
  #take(request: EngineRequest, events: SequenceEvents, pulled: Pulled | null): Session {
    const refused = this.#refusal(request);
    if (refused) {
      events.error(refused);
      return overSession();
    }
    const { clock } = this.#settings;
    const sequence = this.#sequence(request, events);
    sequence.pulled = pulled;
    if (request.resumed.at(-1) === END_TOKEN && !request.sampling.ignoreEos) {
      events.start(sequence.report(clock.now()));
      events.end('stop');
      return overSession();
    }
    const abort = new AbortController();
    const stop = (tell: () => void) => {
      if (sequence.over) return;
      abort.abort();
      this.#scheduler.remove(sequence);
      if (!sequence.paused) tell();
    };
    const running = {
      ...this.#session(sequence),
      cancel: () => stop(() => events.end('cancelled')),
      fail: (error: SluiceError) => stop(() => events.error(error)),
    };
    const local = this.#kv.match(sequence.keys, sequence.tokens).length;
    sequence.expect(pulled?.to ?? local);
    sequence.fetching = pulled === null && (this.#kv.store !== null || (request.ticket?.blocks ?? 0) > 0);
    const lineMs = sequence.fetching ? lineWaitMs(this.#burden(), this.#settings.maxSequences) : 0;
    this.#active.set(sequence, running);
    this.#scheduler.submit(sequence);
    if (sequence.fetching) this.#fetchThenWake(sequence, { local, lineMs }, abort.signal);
    return running;
  }

  #sequence(request: EngineRequest, events: SequenceEvents | null): Sequence {
    const { clock, blockTokens } = this.#settings;
    return new Sequence({ request, events: events ?? SILENT, seed: this.#seeds.of(request.salt), blockTokens, arrivedAt: clock.now() });
  }

  #session(sequence: Sequence): Omit<Session, 'cancel'> {
    let lease = '';
    return {
      offer: async () => {
        if (sequence.over) throw new SluiceError('not_found', 'the request is over');
        const ticket = this.#ticket(sequence, sequence.computed);
        if (lease !== '') this.releaseLease(lease);
        lease = ticket.lease;
        return ticket;
      },
      stop: () => {
        sequence.stopAsked = true;
      },
    };
  }

  /** While it waits in the line. */
  #fetchThenWake(sequence: Sequence, now: AsOfNow, signal: AbortSignal): void {
    this.#fetch(sequence, now, signal)
      .then(() => {
        if (sequence.over) return sequence.onboarded?.release();
        sequence.fetching = false;
        sequence.expect(sequence.pulled?.to ?? sequence.onboarded?.to ?? now.local);
        this.#scheduler.wake();
      })
      .catch((thrown: unknown) => {
        if (sequence.over) return;
        this.#scheduler.remove(sequence);
        sequence.events.error(new SluiceError('internal', 'internal error', { cause: thrown }));
      });
  }

  /** From the store what is faster read than computed or pulled, then from the peer the rest. */
  async #fetch(sequence: Sequence, now: AsOfNow, signal: AbortSignal): Promise<void> {
    const { ticket, pullDeadlineMs } = sequence.request;
    const { store } = this.#kv;
    const { clock, costs } = this.#settings;
    const endAt = clock.now() + pullDeadlineMs;
    if (store !== null) sequence.onboarded = await onboard(store, { sequence, ...now, costs, deadlineMs: pullDeadlineMs, signal });
    if (ticket === null || ticket.blocks === 0) return;
    const bounds = { local: sequence.onboarded?.to ?? now.local, deadlineMs: Math.max(0, endAt - clock.now()) };
    sequence.pulled = await this.#puller.pull(sequence, bounds, signal);
  }

  #refusal(request: EngineRequest): SluiceError | null {
    const waiting = this.#active.size - this.#scheduler.running.length;
    return refusalOf(request, { dead: this.dead, draining: this.#draining, waiting }, this.#settings);
  }

  /** Of the blocks of the first `tokens` tokens. */
  #ticket(sequence: Sequence, tokens: number) {
    const { instance, incarnation, transfer } = this.info;
    const { blockTokens, bytesPerBlock, leaseMs } = this.#settings;
    const count = Math.floor(tokens / blockTokens);
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
    if (this.#drained.length === 0 || this.#active.size + this.#kept.size > 0) return;
    if (this.#leases > 0) {
      this.#settings.clock.after(LEASE_LOOK_MS, () => this.#lookDrained());
      return;
    }
    const drained = this.#drained;
    this.#drained = [];
    for (const resolve of drained) resolve();
  }
}
