/** The HTTP face of an engine process: docs/engine-protocol.md on node:http, in front of any EngineCore. */
import { randomInt, randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Clock, createServer, toSluiceError } from '../../shared/index.ts';
import type { EngineCore } from '../port.ts';
import { BodyReader } from './body.ts';
import { type HttpDialect, sluiceDialect } from './dialect.ts';
import { EventHub } from './events.ts';
import { close, listen } from './listen.ts';
import { EngineMetrics } from './metrics.ts';
import type { Face } from './routes.ts';
import { Sessions } from './sessions.ts';
import { PieceTable } from './text.ts';

export interface EngineServerLimits {
  /** Bytes of one body, and of all bodies that are being received at one time. */
  readonly bodyBytes: number;
  readonly allBodyBytes: number;
  readonly connections: number;
  /** Bytes that may wait for one client that does not read its stream, before the request is cancelled. */
  readonly streamBufferedBytes: number;
  /** The same for a subscriber of events; a snapshot has to fit. */
  readonly eventBufferedBytes: number;
  readonly eventSubscribers: number;
  /** Milliseconds for the headers, and for the whole request, to arrive. */
  readonly headersMs: number;
  readonly requestMs: number;
  /** Milliseconds for pulling KV when the request does not say. */
  readonly pullMs: number;
}

const DEFAULT_LIMITS: EngineServerLimits = {
  bodyBytes: 10 * 1024 * 1024,
  allBodyBytes: 256 * 1024 * 1024,
  connections: 16_384,
  streamBufferedBytes: 1024 * 1024,
  eventBufferedBytes: 32 * 1024 * 1024,
  eventSubscribers: 64,
  headersMs: 10_000,
  requestMs: 60_000,
  pullMs: 10_000,
};

/** What this room logs with; a pino logger fits. */
export interface EngineLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface EngineServerOptions {
  readonly core: EngineCore;
  readonly logger: EngineLogger;
  readonly clock: Clock;
  readonly limits?: Partial<EngineServerLimits>;
  /** What is spoken. Default: docs/engine-protocol.md. */
  readonly dialect?: HttpDialect;
  /** Ids of requests that bring none. Default: random UUIDs. */
  readonly newId?: () => string;
  /** Seeds (32 bits) of requests that bring none. Default: random. */
  readonly newSeed?: () => number;
}

export interface EngineServer {
  /** @throws the listen error of node:net, for example EADDRINUSE */
  listen(host: string, port: number): Promise<{ readonly url: string; readonly port: number }>;
  /** Stops listening and drops what is open. Idempotent. */
  close(): Promise<void>;
}

/** Resumed requests carry all their tokens in a header. */
const MAX_HEADER_BYTES = 256 * 1024;
const KEEP_ALIVE_MS = 65_000;
const DEFAULT_HOLD_MS = 30_000;

export function createEngineServer(options: EngineServerOptions): EngineServer {
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const { core, clock, logger, dialect = sluiceDialect } = options;
  const face: Face = {
    core,
    clock,
    logger,
    limits,
    newId: options.newId ?? randomUUID,
    newSeed: options.newSeed ?? (() => randomInt(0x1_0000_0000)),
    bodies: new BodyReader(limits),
    pieces: new PieceTable(core.tokenizer),
    metrics: new EngineMetrics(core, clock),
    sessions: new Sessions(clock, core.info.leaseMs ?? DEFAULT_HOLD_MS),
    events: new EventHub({ core, clock, bufferedBytes: limits.eventBufferedBytes, maxSubscribers: limits.eventSubscribers }),
  };
  const server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: limits.headersMs,
      requestTimeout: limits.requestMs,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: Math.min(5_000, limits.headersMs),
      noDelay: true,
    },
    (request, response) => answer(face, dialect, request, response),
  );
  server.maxConnections = limits.connections;
  return {
    listen: (host, port) => listen(server, host, port),
    close: () => {
      face.events.close();
      face.sessions.close();
      return close(server);
    },
  };
}

function answer(face: Face, dialect: HttpDialect, request: IncomingMessage, response: ServerResponse): void {
  dialect.route(face, request, response).catch((thrown: unknown) => {
    const error = toSluiceError(thrown);
    if (error.code === 'internal') face.logger.error({ err: error.cause, url: request.url }, 'a request failed unexpectedly');
    if (error.code === 'client_closed' || response.headersSent) response.destroy();
    else dialect.refuse(response, error);
  });
}
