/**
 * The way to NATS: one connection after the other, each made ready (JetStream, our stream) before it is used.
 *
 * Invariants
 * - The client library never connects again by itself, so that it keeps nothing for later: what was sent over a connection that broke is lost.
 * - A server that says nothing for three pings is given up. Every wait ends by itself.
 */
import { connect, credsAuthenticator, DebugEvents, type JetStreamClient, type JetStreamManager, type NatsConnection } from 'nats';
import { type BackoffPolicy, backoffMs, type Cancel, type Clock, sleep } from '../../../shared/index.ts';
import { EventFault } from '../fault.ts';
import type { Health } from '../port.ts';
import { faultOf, type Place } from './failure.ts';
import type { NatsSettings } from './settings.ts';

/** A connection that is ready for use. */
export interface Attached {
  readonly connection: NatsConnection;
  readonly client: JetStreamClient;
  readonly manager: JetStreamManager;
}

export interface LinkOptions {
  readonly clock: Clock;
  readonly random: () => number;
  /** For connecting, and for each answer of the server's API. */
  readonly connectMs: number;
  readonly pingMs: number;
  readonly backoff: BackoffPolicy;
  /** Makes sure that what is needed is there. @throws EventFault, or what the library throws */
  readonly prepare: (attached: Attached) => Promise<void>;
}

/** The oldest server whose JetStream has consumers by name; it is also the oldest that this is tested with. */
const OLDEST = [2, 9] as const;
/** A message of ours has 512 KiB and a little at most. */
const LEAST_PAYLOAD = 600_000;
const PINGS = 2;

export class Link {
  readonly place: Place;
  readonly #settings: NatsSettings;
  readonly #options: LinkOptions;
  readonly #listeners = new Set<() => void>();
  readonly #closing = new AbortController();
  #attached: Attached | null = null;
  #fault: EventFault;
  #attempts = 0;

  constructor(settings: NatsSettings, options: LinkOptions) {
    this.#settings = settings;
    this.#options = options;
    this.place = { shown: settings.shown, usesTls: settings.tls !== null };
    this.#fault = new EventFault('unavailable', `NATS at ${settings.shown}: not connected yet`);
    void this.#run();
  }

  /** Null while it is away. */
  get attached(): Attached | null {
    return this.#attached;
  }

  get health(): Health {
    return this.#attached === null ? { state: 'away', fault: this.#fault } : { state: 'up' };
  }

  get closed(): boolean {
    return this.#closing.signal.aborted;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** @throws EventFault */
  ready(withinMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      let cancel: Cancel = () => undefined;
      const look = () => {
        const over = this.closed || (this.#attempts > 0 && !this.#fault.passing);
        if (this.#attached === null && !over) return;
        cancel();
        stop();
        if (this.#attached === null) reject(this.#fault);
        else resolve();
      };
      const stop = this.onChange(look);
      cancel = this.#options.clock.after(withinMs, () => {
        stop();
        if (this.#attached === null) reject(this.#fault);
        else resolve();
      });
      look();
    });
  }

  /** Resolves when the stream has the message. @throws EventFault */
  async publish(subject: string, message: Uint8Array): Promise<void> {
    const attached = this.#attached;
    if (attached === null) throw new EventFault('unavailable', `NATS at ${this.place.shown}: not connected`);
    try {
      await attached.client.publish(subject, message);
    } catch (error) {
      const fault = faultOf(error, this.place);
      // Nobody takes it: the stream was deleted, and is made anew with the next connection.
      if (fault.code === 'unavailable') this.giveUp(attached, error);
      throw fault;
    }
  }

  /** The connection is of no use any more, although it may not know that: another one is made. */
  giveUp(attached: Attached, error: unknown): void {
    if (this.#attached !== attached) return;
    this.#fault = faultOf(error, this.place);
    void end(attached.connection);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#fault = new EventFault('unavailable', `NATS at ${this.place.shown}: closed`);
    const { connection } = this.#attached ?? {};
    this.#detach();
    if (connection) await end(connection);
  }

  async #run(): Promise<void> {
    const { clock, backoff, random } = this.#options;
    let failures = 0;
    while (!this.closed) {
      const error = await this.#connectOnce(() => {
        failures = 0;
      });
      if (this.closed) return;
      this.#attempts += 1;
      if (error !== null) this.#fault = faultOf(error, this.place);
      this.#detach();
      await sleep(clock, backoffMs(backoff, failures++, random()), this.#closing.signal);
    }
  }

  /** Resolves when the connection has ended, or did not come about. Null = the fault is known already. */
  async #connectOnce(onReady: () => void): Promise<unknown> {
    let connection: NatsConnection;
    try {
      connection = await this.#within(this.#connect());
    } catch (error) {
      return error;
    }
    const ended = connection.closed();
    try {
      const attached = await this.#within(this.#prepare(connection));
      if (this.closed) return null;
      onReady();
      this.#fault = new EventFault('unavailable', `NATS at ${this.place.shown}: the connection broke`);
      this.#attached = attached;
      this.#tell();
      void this.#watch(attached);
      const error = await ended;
      return error instanceof Error ? error : null;
    } catch (error) {
      return error;
    } finally {
      await end(connection);
    }
  }

  /** The library would first wait until a server that does not answer has read all that was sent to it. */
  async #watch(attached: Attached): Promise<void> {
    for await (const { type } of attached.connection.status())
      if (type === DebugEvents.StaleConnection)
        return this.giveUp(attached, new EventFault('timeout', `NATS at ${this.place.shown}: no answer to pings`));
  }

  #connect(): Promise<NatsConnection> {
    const { servers, username, password, token, credentials, tls } = this.#settings;
    const { connectMs, pingMs } = this.#options;
    return connect({
      servers: [...servers],
      name: 'sluice',
      reconnect: false,
      timeout: connectMs,
      pingInterval: pingMs,
      maxPingOut: PINGS,
      noAsyncTraces: true,
      ...(username === null ? {} : { user: username }),
      ...(password === null ? {} : { pass: password }),
      ...(token === null ? {} : { token }),
      ...(credentials === null ? {} : { authenticator: credsAuthenticator(Buffer.from(credentials)) }),
      ...(tls === null ? {} : { tls }),
    });
  }

  async #prepare(connection: NatsConnection): Promise<Attached> {
    const { version = '0', max_payload = 0 } = connection.info ?? {};
    const [major = 0, minor = 0] = version.split('.').map(Number);
    if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1]))
      throw this.#incompatible(`the server has version ${version}, expected ${OLDEST.join('.')} or later: upgrade it`);
    if (max_payload < LEAST_PAYLOAD)
      throw this.#incompatible(`max_payload is ${max_payload}, expected ${LEAST_PAYLOAD} or more: raise it in the server's configuration`);
    const timeout = this.#options.connectMs;
    const attached = { connection, client: connection.jetstream({ timeout }), manager: await this.#manager(connection, timeout) };
    await this.#options.prepare(attached);
    return attached;
  }

  async #manager(connection: NatsConnection, timeout: number): Promise<JetStreamManager> {
    try {
      return await connection.jetstreamManager({ timeout });
    } catch (error) {
      // Nobody answers for JetStream at all.
      if (error instanceof Error && 'code' in error && error.code === '503')
        throw this.#incompatible('JetStream is off: start nats-server with -js, or enable it for the account');
      throw error;
    }
  }

  #incompatible(what: string): EventFault {
    return new EventFault('incompatible', `NATS at ${this.place.shown}: ${what}`);
  }

  /** What comes later is closed again. */
  async #within<T>(work: Promise<T>): Promise<T> {
    const late = Promise.withResolvers<never>();
    const cancel = this.#options.clock.after(this.#options.connectMs + 100, () =>
      late.reject(new EventFault('timeout', `NATS at ${this.place.shown}: no answer within ${this.#options.connectMs} ms`)),
    );
    try {
      return await Promise.race([work, late.promise]);
    } catch (error) {
      void work.then(
        (value) => (isConnection(value) ? value.close() : undefined),
        () => undefined,
      );
      throw error;
    } finally {
      cancel();
    }
  }

  #detach(): void {
    this.#attached = null;
    this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}

/** Closes it at once, whatever was sent and not read yet. */
function end(connection: NatsConnection): Promise<void> {
  return connection.close().catch(() => undefined);
}

function isConnection(value: unknown): value is NatsConnection {
  return typeof value === 'object' && value !== null && 'close' in value && 'jetstream' in value;
}
