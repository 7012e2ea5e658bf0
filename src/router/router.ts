/** Puts a router together and runs its two listeners. */
import { randomBytes } from 'node:crypto';
import type { Server } from 'node:http';
import { type AddressInfo, Server as NetServer } from 'node:net';
import type { Tokenizer, TokenizerSource } from '../engines/index.ts';
import { memoryDirectory } from '../kv/index.ts';
import { type Clock, createServer, sleep } from '../shared/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { SpanExporter } from '../telemetry/traces/index.ts';
import { createAdminApp } from './admin.ts';
import { Admission } from './admission/admission.ts';
import { createApp } from './app.ts';
import type { RouterConfig, TracingConfig } from './config.ts';
import { Chooser } from './dispatch/choose.ts';
import type { DispatchContext } from './dispatch/context.ts';
import { Watchman } from './dispatch/deadlines.ts';
import { MOVE_LIMITS, Mover } from './dispatch/moves/index.ts';
import type { TraceContext } from './edge/index.ts';
import { Forwarder } from './forward.ts';
import { tellEmptied } from './instances/ask.ts';
import { Registry } from './instances/registry.ts';
import { DirectoryHints } from './kv/hints.ts';
import { NO_KV, type RouterKv } from './kv/port.ts';
import { BlockSources } from './kv/sources.ts';
import { RouterMetrics } from './metrics.ts';
import type { RouterParts } from './parts.ts';
import { Prober } from './prober.ts';
import { RecordRing } from './record/index.ts';
import { passedOn, type RequestTrace, sampled, spansOf } from './traces/index.ts';

export interface RouterOptions {
  readonly model: string;
  readonly config: RouterConfig;
  readonly clock: Clock;
  readonly log: Logger;
  readonly loadTokenizer: (source: TokenizerSource) => Promise<Tokenizer>;
  readonly newId: () => string;
  /** [0, 1). */
  readonly random: () => number;
  /** What it shares with other routers and the instances; default nothing. Whoever opened it closes it, after the router. */
  readonly kv?: RouterKv;
  /** Requests began to go the whole way. */
  readonly onReady?: () => void;
}

export interface RunningRouter {
  readonly url: string;
  readonly adminUrl: string;
  /** Takes no new connections; serves one more request on each that is open, waits for those under way at most `graceMs`, then ends them and closes. */
  stop(graceMs: number): Promise<void>;
}

export interface ListenOptions {
  /** `::` is every address; where the machine has no IPv6, every one of IPv4. */
  readonly host: string;
  readonly port: number;
  /** Whoever reaches it may tell the router of instances and read what requests were made. */
  readonly adminHost: string;
  readonly adminPort: number;
}

const RECORDS = 4096;
const KEEP_ALIVE_MS = 65_000;
const HEADERS_TIMEOUT_MS = 20_000;
const BODY_TIMEOUT_MS = 120_000;
/** How long connections that clients hold stay open at least: each is told with its next answer to come back on another. */
const LEAVE_MS = 1_000;
/** How long the end of a router waits for the collector to take its last spans. */
const LAST_SPANS_MS = 2_000;
/** How long the end of a router waits for its last probe. */
const PROBE_END_MS = 2_000;

/** @throws what listen throws: EADDRINUSE when a port is taken. */
export async function startRouter(options: RouterOptions, listen: ListenOptions): Promise<RunningRouter> {
  const state = { stopping: false };
  const { parts, onIdle } = assemble(options, () => state.stopping);
  const publicServer = createServer(
    { keepAliveTimeout: KEEP_ALIVE_MS, headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: BODY_TIMEOUT_MS },
    createApp(parts),
  );
  const adminServer = createServer(createAdminApp(parts));
  try {
    const port = await opened(publicServer, listen.host, listen.port);
    const adminPort = await opened(adminServer, listen.adminHost, listen.adminPort);
    return {
      url: urlOf(listen.host, port),
      adminUrl: urlOf(listen.adminHost, adminPort),
      stop: async (graceMs) => {
        state.stopping = true;
        const { clock } = options;
        const probed = Promise.race([parts.prober.close(), sleep(clock, PROBE_END_MS)]);
        const leaveMs = Math.min(graceMs, LEAVE_MS);
        await Promise.race([leftByAll(publicServer), sleep(clock, leaveMs)]);
        await onIdle(graceMs - leaveMs);
        parts.mover.close();
        publicServer.closeIdleConnections();
        for (const flight of parts.context.watchman.all) if (!flight.record.synthetic) flight.abandon();
        await probed;
        for (const flight of parts.context.watchman.all) flight.abandon();
        closeSources(parts);
        parts.forwarder.close();
        await Promise.all([closed(publicServer), closed(adminServer), parts.spans?.close(LAST_SPANS_MS)]);
      },
    };
  } catch (error) {
    void parts.prober.close();
    parts.mover.close();
    closeSources(parts);
    parts.forwarder.close();
    publicServer.close();
    throw error;
  }
}

function closeSources({ registry, sources, context }: RouterParts): void {
  registry.close();
  sources?.close();
  context.hints?.close();
}

function urlOf(host: string, port: number): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function assemble(options: RouterOptions, stopping: () => boolean): { parts: RouterParts; onIdle: (graceMs: number) => Promise<void> } {
  const { model, config, clock, log, loadTokenizer, newId, random, onReady = () => undefined, kv = NO_KV } = options;
  const directory = memoryDirectory({ clock });
  let mover: Mover | null = null;
  const notice = (message: string, instance: string) => log.warn({ instance }, message);
  const sources = kv.bus === null ? null : new BlockSources({ bus: kv.bus, directory, clock, random });
  const hints = kv.directory === null ? null : new DirectoryHints(kv.directory, clock);
  const registry = new Registry(model, {
    clock,
    random,
    directory,
    sources,
    loadTokenizer,
    onNotice: notice,
    onDraining: () => mover?.wake(),
  });
  const admission = new Admission(config.limits, clock);
  const records = new RecordRing(RECORDS);
  const forwarder = new Forwarder(config, clock);
  const spans = exporterOf(options);
  const metrics = new RouterMetrics({ registry, admission, forwarder, sources, hints, spans });
  let clients = 0;
  let idle: (() => void) | null = null;
  const underWay = {
    begin() {
      clients += 1;
    },
    end() {
      clients -= 1;
      if (clients === 0) idle?.();
    },
  };
  const context: DispatchContext = {
    clock,
    directory,
    hints,
    admission,
    chooser: new Chooser(registry, directory, config.deadlines.pullMs),
    watchman: new Watchman(clock),
    deadlines: config.deadlines,
    moves: {
      limits: MOVE_LIMITS,
      newId,
      onTransition: (transition) => metrics.moveWent(transition),
      onOver: (record) => {
        metrics.moved(record);
        mover?.moveOver(record);
      },
    },
    newSession: newId,
    newRoom,
    chains: new WeakMap(),
    newSeed: () => Math.floor(random() * 2 ** 32),
    held: { reservations: 0, legs: 0 },
    onEnd: (flight) => {
      const { record } = flight;
      if (record.synthetic) return;
      records.add(record);
      metrics.ended(record);
      if (record.span !== null) spans?.offer(spansOf(record));
      if (record.outcome === 'failed') log.warn({ requestId: record.id, ...traced(record), error: record.error }, 'a request failed');
      underWay.end();
    },
  };
  mover = new Mover({
    clock,
    instances: () => registry.instances,
    flights: () => context.watchman.all,
    empty: (instance) => tellEmptied(instance, true, clock),
  });
  const prober = new Prober({ context, clock, model: () => registry.model, newId, onReady, unproven: () => registry.unproven });
  const parts: RouterParts = {
    config,
    log,
    registry,
    admission,
    forwarder,
    context,
    records,
    metrics,
    prober,
    mover,
    spans,
    traced: config.tracing === null ? passedOn : samplerOf(config.tracing, random),
    sources,
    underWay,
    newId,
    stopping,
    startedAt: clock.wall(),
  };
  const onIdle = (graceMs: number) =>
    new Promise<void>((resolve) => {
      if (clients === 0) return resolve();
      const cancel = clock.after(graceMs, resolve);
      idle = () => {
        cancel();
        resolve();
      };
    });
  return { parts, onIdle };
}

/** By chance, as SGLang's own routers do: several routers share instances. Below 2^53, so that it is the same number to all who read it. */
function newRoom(): number {
  return Number(randomBytes(8).readBigUInt64BE() >> 12n);
}

function exporterOf({ config: { tracing }, clock, random, log, newId }: RouterOptions): SpanExporter | null {
  if (tracing === null) return null;
  const { endpoint, serviceName, serviceNamespace } = tracing;
  const resource = { 'service.name': serviceName, 'service.namespace': serviceNamespace, 'service.instance.id': newId() };
  return new SpanExporter({ endpoint, resource, clock, random, log });
}

function samplerOf({ sampleRatio }: TracingConfig, random: () => number): (client: TraceContext | null) => RequestTrace {
  const options = { ratio: sampleRatio, random };
  return (client) => sampled(client, options);
}

function traced({ traceId }: { readonly traceId: string | null }): { traceId?: string } {
  return traceId === null ? {} : { traceId };
}

function opened(server: Server, host: string, port: number): Promise<number> {
  // Node looks whether there is IPv6 only when it is given no address.
  const where = host === '::' ? {} : { host };
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ ...where, port, backlog: 4096 }, () => {
      server.removeListener('error', reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

/** It takes no new connections. Not by its own `close`, which cuts those that are idle, though a request may be on its way over one. */
function leftByAll(server: Server): Promise<void> {
  return new Promise((resolve) => {
    NetServer.prototype.close.call(server, () => resolve());
  });
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
