/**
 * Connections to one engine. A request takes an idle connection or opens one; a connection that the engine closed while it lay
 * idle is replaced once without the caller noticing (no byte of an answer had come, and generation has no side effect). That shows at
 * once: what breaks later had begun, and what it was given may be of no use any more.
 */
import type { Clock } from '../../shared/index.ts';
import { Connection, type ConnectionOwner, Leg, type ResponseSink, type UpstreamFailure } from './connection.ts';

export interface PoolOptions {
  readonly host: string;
  readonly port: number;
  readonly clock: Clock;
  readonly connectTimeoutMs: number;
  /** Open connections at most, busy ones included. */
  readonly maxConnections: number;
  /** Idle connections kept at most. */
  readonly maxIdle: number;
}

const REPLACED_WITHIN_MS = 1_000;

export class Pool implements ConnectionOwner {
  readonly #options: PoolOptions;
  readonly #idle: Connection[] = [];
  #open = 0;
  #closed = false;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** Connections with a request on them. */
  get busy(): number {
    return this.#open - this.#idle.length;
  }

  /** Starts a request. `head` is the whole request head with its empty line; failures reach the sink, never as exceptions. */
  request(head: string, body: Buffer | null, sink: ResponseSink): Leg {
    const leg = new Leg(head, body, sink, this.#options.clock.now());
    this.#start(leg, this.#takeIdle());
    return leg;
  }

  /** Drops idle connections and lets none become idle again; busy ones end with their request. */
  close(): void {
    this.#closed = true;
    for (const connection of this.#idle.splice(0)) connection.destroy();
  }

  idle(connection: Connection): void {
    if (this.#closed || this.#idle.length >= this.#options.maxIdle) connection.destroy();
    else this.#idle.push(connection);
  }

  closed(connection: Connection): void {
    this.#open -= 1;
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
  }

  failed(connection: Connection, leg: Leg, failure: UpstreamFailure, answered: boolean): void {
    const wasIdle = connection.served > 0;
    const soon = this.#options.clock.now() - leg.sentAt < REPLACED_WITHIN_MS;
    if (failure.kind === 'lost' && !answered && wasIdle && soon) this.#start(leg, undefined);
    else leg.sink.fail(failure);
  }

  #start(leg: Leg, idle: Connection | undefined): void {
    if (idle === undefined && this.#open >= this.#options.maxConnections) {
      queueMicrotask(() => leg.sink.fail({ kind: 'overload', message: 'too many connections to the engine' }));
      return;
    }
    const connection = idle ?? this.#connect();
    leg.connection = connection;
    connection.send(leg);
  }

  #takeIdle(): Connection | undefined {
    for (;;) {
      const connection = this.#idle.pop();
      if (connection === undefined || connection.reusable) return connection;
      connection.destroy();
    }
  }

  #connect(): Connection {
    this.#open += 1;
    return new Connection(this.#options, this.#options.connectTimeoutMs, this.#options.clock, this);
  }
}
