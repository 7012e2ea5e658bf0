/**
 * The agent beside one vLLM: starts it, describes it to the router (docs/engine-protocol.md), and ends with it. Requests and streams
 * never pass through here.
 *
 * Invariants
 * - `ended` resolves once, when vLLM is gone or will never serve again, with why. Then no process of it is left.
 * - `/health` is 200 only while vLLM answers well and its first requests have been measured.
 * - Every life of a vLLM has an incarnation of its own.
 */
import { randomUUID } from 'node:crypto';
import { type Cancel, type Clock, SluiceError } from '../../shared/index.ts';
import { EventHub, type ToldEngine } from '../openai/events.ts';
import { urlOf } from '../openai/listen.ts';
import type { EngineInfo, EngineLoad } from '../port.ts';
import { VllmClient } from './client.ts';
import { coresOfRanks, isLocal, leaseSeconds, type VllmDevice, type VllmPorts, type VllmSpec, vllmCommand } from './command.ts';
import { describeModel, identityOf, type ModelDescription } from './describe.ts';
import { computeMs, groupTicks } from './effort.ts';
import { createFace, type Face, type Shown } from './face.ts';
import { hubSnapshot } from './hub.ts';
import { HealthWatch, untilServing } from './readiness.ts';
import { type SupervisedVllm, superviseVllm } from './supervisor.ts';
import type { OpenedView, OpenView, VllmView } from './view/view.ts';
import { greet, type WarmUp, type WarmUpOptions, warmUp } from './warmup.ts';

export interface VllmAgentOptions {
  readonly spec: VllmSpec;
  readonly instance: string;
  /** Address that vLLM and the agent listen on. */
  readonly host: string;
  /** Of the agent; 0 = any free one. */
  readonly port: number;
  readonly ports: VllmPorts;
  readonly device: VllmDevice;
  /** Path of the `vllm` executable. */
  readonly executable: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Longest time from the start until vLLM serves. */
  readonly startMs: number;
  readonly clock: Clock;
  /** Follows what it holds and how loaded it is. */
  readonly openView: OpenView;
  readonly onLine: (line: string) => void;
  readonly warn: (text: string) => void;
  /** Its start goes on. */
  readonly onProgress: () => void;
}

type BindThreads = typeof import('./affinity.ts')['bindThreads'];

const EVENT_BUFFERED_BYTES = 32 * 2 ** 20;
const EVENT_SUBSCRIBERS = 64;
/** A load line that says that it drains, and a reading of the metrics after it: requests sent before are running by then. */
const NOTICE_MS = 600;
const BROKEN_THREAD = /Exception in thread ((?:nixl|zmq)\S*):/;
const CAUSE_MS = 500;
const METRICS_EVERY_MS = 250;
const METRICS_MS = 2_000;
const WARM_UP_REQUEST_MS = 60_000;
const VERSION_MS = 10_000;

export class VllmAgent {
  readonly incarnation = randomUUID();
  readonly ended: Promise<string>;
  readonly #options: VllmAgentOptions;
  readonly #vllm: SupervisedVllm;
  readonly #client: VllmClient;
  readonly #face: Face;
  /** Aborts when it ends, or is closed. */
  readonly #over = new AbortController();
  readonly #requestUrl: string;
  #watch: HealthWatch | null = null;
  #info: EngineInfo | null = null;
  #events: EventHub | null = null;
  #source: ToldEngine | null = null;
  #opened: OpenedView | null = null;
  #view: VllmView | null = null;
  #draining = false;
  #drainedFromMs = 0;
  #onIdle: (() => void) | null = null;
  #cancelScrape: Cancel = () => {};
  /** Why it was killed, when the agent did it. */
  #verdict: string | null = null;

  constructor(options: VllmAgentOptions) {
    this.#options = options;
    const { spec, host, ports, device, executable, env, clock, onLine } = options;
    const command = vllmCommand(spec, { host, ports, device, incarnation: this.incarnation });
    this.#requestUrl = urlOf(host, ports.http);
    this.#client = new VllmClient(this.#requestUrl);
    this.#vllm = superviseVllm({
      executable,
      args: command.args,
      env: merged(env, command.env),
      clock,
      onLine: (line) => {
        onLine(line);
        this.#overhear(line);
      },
    });
    this.ended = this.#vllm.ended.then((how) => {
      this.#hide();
      this.#over.abort();
      return this.#verdict === null ? how : `${this.#verdict}; ${how}`;
    });
    this.#face = createFace(this.#shown());
  }

  get ports(): VllmPorts {
    return this.#options.ports;
  }

  get info(): EngineInfo | null {
    return this.#info;
  }

  /** What it holds and how loaded it is; null while vLLM starts, and once it has ended. */
  get source(): ToldEngine | null {
    return this.#source;
  }

  /** Where others reach the agent; it says that vLLM is not ready until it is. @throws the listen error of node:net */
  listen(): Promise<string> {
    return this.#face.listen(this.#options.host, this.#options.port);
  }

  /**
   * Resolves when vLLM serves and its first costs are known, or when it has ended meanwhile.
   * @throws SluiceError when it runs but cannot be used; it has been killed then
   */
  async start(): Promise<void> {
    try {
      const why = await this.#start();
      if (why !== null && !this.#over.signal.aborted) throw new SluiceError('engine_failed', why);
    } catch (thrown) {
      this.#vllm.kill();
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

  /** Ends vLLM, by force after `killAfterMs`, and stops listening. Idempotent. */
  async close(killAfterMs: number): Promise<void> {
    this.#watch?.stop();
    this.#cancelScrape();
    this.#events?.close();
    this.#vllm.end(killAfterMs);
    await this.#vllm.ended;
    this.#over.abort();
    await this.#opened?.close();
    this.#client.close();
    await this.#face.close();
  }

  /** @returns why it cannot be used; null = it serves, or has ended */
  async #start(): Promise<string | null> {
    const { clock, spec, device, onProgress, startMs, ports, host, openView, warn } = this.#options;
    const client = this.#client;
    const { signal } = this.#over;
    // It brings a native library: loaded while vLLM loads its model.
    const { bindThreads } = await import('./affinity.ts');
    const written = () => this.#vllm.writtenBytes;
    const effort = () => written() + groupTicks(this.#vllm.pid);
    const obstacle = await untilServing({ client, clock, written, effort, onProgress, signal, startMs });
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
      busyMs: () => (device.kind === 'cpu' ? computeMs(this.#vllm.pid) : null),
    };
    // What else there is to do fits into the time of the first request.
    const greeted = greet(requests);
    this.#opened = await openView({ info, ports, host, clock, warn });
    this.#bind(bindThreads);
    const why = await greeted;
    if (signal.aborted) return null;
    const measured: WarmUp = why === null ? await warmUp(requests) : { ok: false, why };
    if (signal.aborted) return null;
    if (!measured.ok) return `vLLM serves, but ${measured.why}`;
    const view = this.#opened.withCosts(measured.costs);
    this.#view = view;
    await this.#scrape();
    if (!signal.aborted) this.#serve(info, view);
    return null;
  }

  #serve(info: EngineInfo, view: VllmView): void {
    const { clock } = this.#options;
    const core: ToldEngine = {
      snapshot: () => view.snapshot(),
      onEvent: (listener) => view.onEvent(listener),
      load: () => this.load() ?? view.load(this.#draining),
    };
    this.#source = core;
    this.#events = new EventHub({ core, clock, bufferedBytes: EVENT_BUFFERED_BYTES, maxSubscribers: EVENT_SUBSCRIBERS });
    this.#info = info;
    this.#watch = new HealthWatch({ client: this.#client, clock, onDead: (why) => this.#condemn(why) });
  }

  async #describe(): Promise<{ info: EngineInfo; description: ModelDescription } | string> {
    const { spec, instance, host, ports, env } = this.#options;
    const version = await this.#version();
    if (version === null) return 'vLLM serves, but does not tell its version';
    const place = isLocal(spec.model) ? { folder: spec.model, revision: '' } : await hubSnapshot(spec.model, spec.revision, env);
    const description = await describeModel(place.folder, spec.dtype);
    const identity = identityOf(description, { revision: place.revision, version, blockTokens: spec.blockTokens });
    const info: EngineInfo = {
      instance,
      incarnation: this.incarnation,
      role: spec.role,
      engine: 'vllm',
      dialect: 'nixl',
      requestUrl: this.#requestUrl,
      simulated: false,
      model: spec.modelName,
      contextTokens: spec.contextTokens,
      maxSequences: spec.maxSequences,
      identity,
      bytesPerBlock: description.bytesPerToken * spec.blockTokens,
      tokenizer: { kind: 'huggingface', path: place.folder },
      transfer: { host, port: ports.sideChannel },
      leaseMs: spec.role === 'mixed' ? null : leaseSeconds(spec.leaseMs) * 1000,
    };
    return { info, description };
  }

  async #version(): Promise<string | null> {
    const reply = await this.#client.get('/version', VERSION_MS);
    const version = reply.ok && reply.status === 200 ? /"version"\s*:\s*"([^"]{1,100})"/.exec(reply.text)?.[1] : undefined;
    return version ?? null;
  }

  #bind(bindThreads: BindThreads): void {
    const { device, spec, warn } = this.#options;
    if (device.kind !== 'cpu' || device.cores === null) return;
    const why = bindThreads(this.#vllm.pid, coresOfRanks(device.cores, spec.tensorParallel));
    if (why !== null) warn(`${why}: several engines may compute on one processor and be slow`);
  }

  /** vLLM goes on waiting for ever when one of its threads could not start, for lack of its port for instance. */
  #overhear(line: string): void {
    const thread = BROKEN_THREAD.exec(line)?.[1];
    if (thread === undefined || this.#info !== null || this.#verdict !== null) return;
    const why = `vLLM cannot start: its thread ${thread} failed`;
    this.#verdict = why;
    // The cause stands in the lines after this one.
    this.#options.clock.after(CAUSE_MS, () => this.#condemn(why));
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
    this.#vllm.kill();
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
    if (reply.ok && reply.status === 200) return reply.text;
    throw new SluiceError('unavailable', `vLLM did not give its metrics: ${reply.ok ? `HTTP ${reply.status}` : reply.why}`);
  }
}

function merged(
  env: Readonly<Record<string, string | undefined>>,
  ours: Readonly<Record<string, string | null>>,
): Record<string, string | undefined> {
  return { ...env, ...Object.fromEntries(Object.entries(ours).map(([name, value]) => [name, value ?? undefined])) };
}
