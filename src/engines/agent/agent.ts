/**
 * The agent beside one engine that is not ours: starts it, describes it to the router (docs/engine-protocol.md), and ends with it. Requests and streams
 * never pass through here.
 *
 * Invariants
 * - `ended` resolves once, when the engine is gone or will never serve again, with why. Then no process of it is left.
 * - `/health` is 200 only while the engine answers well and its first requests have been measured.
 * - Every life of an engine has an incarnation of its own.
 */
import { randomUUID } from 'node:crypto';
import { type Cancel, type Clock, SluiceError } from '../../shared/index.ts';
import { EventHub, type ToldEngine } from '../openai/events.ts';
import { urlOf } from '../openai/listen.ts';
import type { EngineInfo, EngineLoad } from '../port.ts';
import { EngineClient } from './client.ts';
import { describeModel, identityOf, type ModelDescription } from './describe.ts';
import { groupTicks } from './effort.ts';
import { createFace, type Face, type Shown } from './face.ts';
import { hubSnapshot } from './hub.ts';
import { type EngineKind, type EnginePorts, type EngineSpec, isLocal } from './kind.ts';
import { HealthWatch, untilServing } from './readiness.ts';
import { type SupervisedEngine, superviseEngine } from './supervisor.ts';
import type { EngineView, OpenedView, OpenView } from './view.ts';
import { greet, type WarmUp, type WarmUpOptions, warmUp } from './warmup.ts';

export interface AgentOptions {
  readonly kind: EngineKind;
  readonly spec: EngineSpec;
  readonly instance: string;
  /** Address that the engine and the agent listen on. */
  readonly host: string;
  /** Of the agent; 0 = any free one. */
  readonly port: number;
  readonly ports: EnginePorts;
  /** Path of the program. */
  readonly executable: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Longest time from the start until it serves. */
  readonly startMs: number;
  readonly clock: Clock;
  /** Follows what it holds and how loaded it is. */
  readonly openView: OpenView;
  readonly onLine: (line: string) => void;
  readonly warn: (text: string) => void;
  /** Its start goes on. */
  readonly onProgress: () => void;
}

const EVENT_BUFFERED_BYTES = 32 * 2 ** 20;
const EVENT_SUBSCRIBERS = 64;
/** A load line that says that it drains, and a reading of the metrics after it: requests sent before are running by then. */
const NOTICE_MS = 600;
const CAUSE_MS = 500;
const METRICS_EVERY_MS = 250;
const METRICS_MS = 2_000;
const WARM_UP_REQUEST_MS = 60_000;
const VERSION_MS = 10_000;

export class EngineAgent {
  readonly incarnation = randomUUID();
  readonly ended: Promise<string>;
  readonly #options: AgentOptions;
  readonly #engine: SupervisedEngine;
  readonly #client: EngineClient;
  readonly #face: Face;
  /** Aborts when it ends, or is closed. */
  readonly #over = new AbortController();
  readonly #requestUrl: string;
  #watch: HealthWatch | null = null;
  #info: EngineInfo | null = null;
  #events: EventHub | null = null;
  #source: ToldEngine | null = null;
  #opened: OpenedView | null = null;
  #view: EngineView | null = null;
  #draining = false;
  #drainedFromMs = 0;
  #onIdle: (() => void) | null = null;
  #cancelScrape: Cancel = () => {};
  /** Why it was killed, when the agent did it. */
  #verdict: string | null = null;

  constructor(options: AgentOptions) {
    this.#options = options;
    const { kind, host, ports, executable, env, clock, onLine } = options;
    const command = kind.command(this.incarnation);
    this.#requestUrl = urlOf(host, ports.http);
    this.#client = new EngineClient(this.#requestUrl);
    this.#engine = superviseEngine({
      title: kind.title,
      executable,
      args: command.args,
      env: merged(env, command.env),
      clock,
      onLine: (line) => {
        onLine(line);
        this.#overhear(line);
      },
    });
    this.ended = this.#engine.ended.then((how) => {
      this.#hide();
      this.#over.abort();
      return this.#verdict === null ? how : `${this.#verdict}; ${how}`;
    });
    this.#face = createFace(this.#shown());
  }

  get ports(): EnginePorts {
    return this.#options.ports;
  }

  get info(): EngineInfo | null {
    return this.#info;
  }

  /** What it holds and how loaded it is; null while the engine starts, and once it has ended. */
  get source(): ToldEngine | null {
    return this.#source;
  }

  /** Where others reach the agent; it says that the engine is not ready until it is. @throws the listen error of node:net */
  listen(): Promise<string> {
    return this.#face.listen(this.#options.host, this.#options.port);
  }

  /**
   * Resolves when the engine serves and its first costs are known, or when it has ended meanwhile.
   * @throws SluiceError when it runs but cannot be used; it has been killed then
   */
  async start(): Promise<void> {
    try {
      const why = await this.#start();
      if (why !== null && !this.#over.signal.aborted) throw new SluiceError('engine_failed', why);
    } catch (thrown) {
      this.#engine.kill();
      if (!this.#over.signal.aborted) throw thrown;
    }
  }

  load(): EngineLoad | null {
    const load = this.#view?.load(this.#draining) ?? null;
    return load && { ...load, quietMs: Math.round(this.#watch?.quietMs ?? 0) };
  }

  /** Resolves when nothing runs, waits or is kept for a peer any more, and the router has had time to see that it drains. */
  drain(): Promise<void> {
    this.#draining = true;
    this.#drainedFromMs = this.#options.clock.now() + NOTICE_MS;
    return new Promise((resolve) => {
      this.#onIdle = resolve;
      this.#over.signal.addEventListener('abort', () => resolve(), { once: true });
      this.#tellIdle();
    });
  }

  /** Ends the engine, by force after `killAfterMs`, and stops listening. Idempotent. */
  async close(killAfterMs: number): Promise<void> {
    this.#watch?.stop();
    this.#cancelScrape();
    this.#events?.close();
    this.#engine.end(killAfterMs);
    await this.#engine.ended;
    this.#over.abort();
    await this.#opened?.close();
    this.#client.close();
    await this.#face.close();
  }

  /** @returns why it cannot be used; null = it serves, or has ended */
  async #start(): Promise<string | null> {
    const { clock, kind, spec, onProgress, startMs, ports, host, openView, warn } = this.#options;
    const client = this.#client;
    const { signal } = this.#over;
    const settle = await kind.prepare();
    const written = () => this.#engine.writtenBytes;
    const effort = () => written() + groupTicks(this.#engine.pid);
    const obstacle = await untilServing({ client, kind, clock, written, effort, onProgress, signal, startMs });
    if (obstacle !== null || signal.aborted) return obstacle;
    const described = await this.#describe();
    if (typeof described === 'string') return described;
    const { info, description } = described;
    const requests: WarmUpOptions = {
      client,
      clock,
      modelName: spec.modelName,
      contextTokens: spec.contextTokens,
      vocabulary: description.vocabulary,
      requestMs: WARM_UP_REQUEST_MS,
      busyMs: () => kind.busyMs(this.#engine.pid),
      alone: () => kind.alone(),
    };
    // What else there is to do fits into the time of the first request.
    const greeted = greet(requests);
    this.#opened = await openView({ info, ports, host, clock, warn });
    const slow = settle(this.#engine.pid);
    if (slow !== null) warn(slow);
    const why = await greeted;
    if (signal.aborted) return null;
    const measured: WarmUp = why === null ? await warmUp(requests) : { ok: false, why };
    if (signal.aborted) return null;
    if (!measured.ok) return `${kind.title} serves, but ${measured.why}`;
    const view = this.#opened.withCosts(measured.costs);
    this.#view = view;
    await this.#scrape();
    if (!signal.aborted) this.#serve(info, view);
    return null;
  }

  #serve(info: EngineInfo, view: EngineView): void {
    const { clock, kind } = this.#options;
    const core: ToldEngine = {
      snapshot: () => view.snapshot(),
      onEvent: (listener) => view.onEvent(listener),
      load: () => this.load() ?? view.load(this.#draining),
    };
    this.#source = core;
    this.#events = new EventHub({ core, clock, bufferedBytes: EVENT_BUFFERED_BYTES, maxSubscribers: EVENT_SUBSCRIBERS });
    this.#info = info;
    this.#watch = new HealthWatch({ client: this.#client, kind, clock, onDead: (why) => this.#condemn(why) });
  }

  async #describe(): Promise<{ info: EngineInfo; description: ModelDescription } | string> {
    const { kind, spec, instance, host, ports, env } = this.#options;
    const version = await this.#version();
    if (version === null) return `${kind.title} serves, but does not tell its version`;
    const place = isLocal(spec.model) ? { folder: spec.model, revision: '' } : await hubSnapshot(spec.model, spec.revision, env);
    const description = await describeModel(place.folder, spec.dtype);
    const identity = identityOf(description, {
      revision: place.revision,
      layout: `${kind.engine}/${version}`,
      blockTokens: spec.blockTokens,
    });
    const info: EngineInfo = {
      instance,
      incarnation: this.incarnation,
      role: spec.role,
      engine: kind.engine,
      dialect: kind.dialect,
      requestUrl: this.#requestUrl,
      simulated: false,
      model: spec.modelName,
      contextTokens: spec.contextTokens,
      maxSequences: spec.maxSequences,
      identity,
      bytesPerBlock: description.bytesPerToken * spec.blockTokens,
      tokenizer: { kind: 'huggingface', path: place.folder },
      transfer: { host, port: ports.sideChannel },
      leaseMs: spec.role === 'mixed' ? null : kind.leaseMs,
    };
    return { info, description };
  }

  async #version(): Promise<string | null> {
    const { path, pattern } = this.#options.kind.version;
    const reply = await this.#client.get(path, VERSION_MS);
    return reply.ok && reply.status === 200 ? (pattern.exec(reply.text)?.[1] ?? null) : null;
  }

  /** An engine goes on waiting for ever when one of its threads could not start, for lack of its port for instance. */
  #overhear(line: string): void {
    const { kind, clock } = this.#options;
    const thread = kind.brokenThread?.exec(line)?.[1];
    if (thread === undefined || this.#info !== null || this.#verdict !== null) return;
    const why = `${kind.title} cannot start: its thread ${thread} failed`;
    this.#verdict = why;
    // The cause stands in the lines after this one.
    clock.after(CAUSE_MS, () => this.#condemn(why));
  }

  /** The router is to know at once that there is nobody behind this any more. */
  #hide(): void {
    this.#info = null;
    this.#source = null;
    this.#events?.close();
    this.#events = null;
  }

  #condemn(why: string): void {
    this.#verdict = why;
    this.#hide();
    this.#engine.kill();
  }

  async #scrape(): Promise<void> {
    const { clock } = this.#options;
    const reply = await this.#client.get('/metrics', METRICS_MS);
    if (this.#over.signal.aborted) return;
    if (reply.ok && reply.status === 200) this.#view?.scraped(reply.text, clock.now());
    this.#tellIdle();
    this.#cancelScrape = clock.after(METRICS_EVERY_MS, () => void this.#scrape());
  }

  #tellIdle(): void {
    const load = this.load();
    if (load !== null && this.#options.clock.now() < this.#drainedFromMs) return;
    if (load === null || (load.running === 0 && load.waiting === 0 && load.leases === 0)) this.#onIdle?.();
  }

  #shown(): Shown {
    return {
      info: () => this.#info,
      events: () => this.#events,
      well: () => this.#watch?.well ?? false,
      metrics: () => this.#metrics(),
      drain: () => {
        this.#draining = true;
      },
    };
  }

  async #metrics(): Promise<string> {
    const reply = await this.#client.get('/metrics', METRICS_MS);
    if (reply.ok && reply.status === 200) return this.#options.kind.page(reply.text);
    throw new SluiceError(
      'unavailable',
      `${this.#options.kind.title} did not give its metrics: ${reply.ok ? `HTTP ${reply.status}` : reply.why}`,
    );
  }
}

function merged(
  env: Readonly<Record<string, string | undefined>>,
  ours: Readonly<Record<string, string | null>>,
): Record<string, string | undefined> {
  return { ...env, ...Object.fromEntries(Object.entries(ours).map(([name, value]) => [name, value ?? undefined])) };
}
