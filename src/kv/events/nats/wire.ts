/** The log on JetStream; beats and asks on plain subjects. */
import { ConsumerEvents, type ConsumerMessages, type JsMsg, type Msg, type Subscription } from 'nats';
import { backoffMs, type Cancel, type Clock } from '../../../shared/index.ts';
import { nameOf, tokenOf } from '../names.ts';
import type { Reader, Wire } from '../wire.ts';
import type { Attached, Link } from './link.ts';

export interface WireOptions {
  readonly link: Link;
  readonly clock: Clock;
  readonly random: () => number;
  /** Before every subject: prefix and space. */
  readonly root: string;
  readonly stream: string;
}

/** Messages that are on their way to a reader at most. */
const PULL = 256;
const HEARTBEAT_MS = 1_000;
const EXPIRES_MS = 30_000;
const REOPEN = { firstMs: 100, maxMs: 2_000, factor: 2 } as const;

export class NatsWire implements Wire {
  readonly #options: WireOptions;

  constructor(options: WireOptions) {
    this.#options = options;
  }

  get isUp(): boolean {
    return this.#options.link.attached !== null;
  }

  onChange(listener: () => void): () => void {
    return this.#options.link.onChange(listener);
  }

  async append(instance: string, message: Uint8Array): Promise<void> {
    const { link, root } = this.#options;
    await link.publish(`${root}.event.${tokenOf(instance)}`, message);
  }

  beat(instance: string, message: Uint8Array): void {
    this.#send(`beat.${tokenOf(instance)}`, message);
  }

  onBeat(listener: (instance: string, message: Uint8Array) => void): () => void {
    return this.#subscribe('beat.*', ({ subject, data }) => listener(instanceOf(subject), data));
  }

  ask(instance: string): void {
    this.#send(`ask.${tokenOf(instance)}`, new Uint8Array());
  }

  onAsk(instance: string, listener: () => void): () => void {
    return this.#subscribe(`ask.${tokenOf(instance)}`, () => listener());
  }

  read(reader: Reader): () => void {
    const reading = new Reading(this.#options, reader);
    return () => reading.stop();
  }

  #send(subject: string, message: Uint8Array): void {
    const { connection } = this.#options.link.attached ?? {};
    if (connection === undefined || connection.isClosed()) return;
    connection.publish(`${this.#options.root}.${subject}`, message);
  }

  /** On every connection that there will be. */
  #subscribe(subject: string, listener: (message: Msg) => void): () => void {
    const { link, root } = this.#options;
    let current: Subscription | null = null;
    let on: Attached | null = null;
    const attach = () => {
      if (link.attached === on) return;
      on = link.attached;
      const callback = (error: Error | null, message: Msg) => (error === null ? listener(message) : undefined);
      current = on === null || on.connection.isClosed() ? null : on.connection.subscribe(`${root}.${subject}`, { callback });
    };
    const stop = link.onChange(attach);
    attach();
    return () => {
      stop();
      if (on !== null && !on.connection.isClosed()) current?.unsubscribe();
    };
  }
}

/** Reads the log, from connection to connection where it left off, while that is still in the stream. */
class Reading {
  readonly #options: WireOptions;
  readonly #reader: Reader;
  readonly #stopListening: () => void;
  /** The last message that was read, of the stream that was made at that time. */
  #cursor: { readonly created: string; seq: number } | null = null;
  #messages: ConsumerMessages | null = null;
  #on: Attached | null = null;
  #cancelReopen: Cancel | null = null;
  #failures = 0;
  #round = 0;
  #stopped = false;

  constructor(options: WireOptions, reader: Reader) {
    this.#options = options;
    this.#reader = reader;
    this.#stopListening = options.link.onChange(() => this.#follow());
    this.#follow();
  }

  stop(): void {
    this.#stopped = true;
    this.#stopListening();
    this.#leave();
  }

  #follow(): void {
    const { attached } = this.#options.link;
    if (attached === this.#on) return;
    this.#on = attached;
    this.#leave();
    if (attached !== null) void this.#open(attached);
  }

  #leave(): void {
    this.#round += 1;
    this.#cancelReopen?.();
    this.#cancelReopen = null;
    this.#messages?.stop();
    this.#messages = null;
  }

  async #open(attached: Attached): Promise<void> {
    const round = this.#round;
    try {
      const { client, manager } = attached;
      const { stream } = this.#options;
      const { created, state } = await manager.streams.info(stream);
      if (round !== this.#round) return;
      const cursor = this.#cursor;
      const goesOn = cursor?.created === created && cursor.seq <= state.last_seq && cursor.seq + 1 >= state.first_seq;
      const start = goesOn ? cursor : { created, seq: state.last_seq };
      // Unless all of this comes about, the next time does not go on either.
      if (!goesOn) this.#cursor = null;
      const consumer = await client.consumers.get(stream, { opt_start_seq: start.seq + 1, inactive_threshold: EXPIRES_MS });
      const messages = await consumer.consume({
        max_messages: PULL,
        expires: EXPIRES_MS,
        idle_heartbeat: HEARTBEAT_MS,
        abort_on_missing_resource: true,
        callback: (message) => this.#read(round, message),
      });
      if (round !== this.#round || this.#stopped) return messages.stop();
      this.#messages = messages;
      this.#cursor ??= start;
      this.#failures = 0;
      void this.#watch(messages, attached, round);
      // After the consumer is there, so that what is asked for now is not missed.
      if (!goesOn) this.#reader.anew();
    } catch (error) {
      this.#reopen(attached, round, error);
    }
  }

  #read(round: number, message: JsMsg): void {
    if (round !== this.#round) return;
    if (this.#cursor !== null) this.#cursor.seq = message.seq;
    this.#reader.message(instanceOf(message.subject), message.data);
  }

  /** Ends with the connection, or when the stream is gone. */
  async #watch(messages: ConsumerMessages, attached: Attached, round: number): Promise<void> {
    for await (const { type } of await messages.status()) {
      if (round !== this.#round) return;
      if (type === ConsumerEvents.StreamNotFound || type === ConsumerEvents.ConsumerDeleted) break;
    }
    if (round === this.#round) this.#reopen(attached, round, new Error('503 the stream is gone'));
  }

  #reopen(attached: Attached, round: number, error: unknown): void {
    if (round !== this.#round || this.#stopped) return;
    const { link, clock, random } = this.#options;
    this.#leave();
    this.#cancelReopen = clock.after(backoffMs(REOPEN, this.#failures++, random()), () => {
      // The next connection makes the stream anew.
      link.giveUp(attached, error);
    });
  }
}

function instanceOf(subject: string): string {
  return nameOf(subject.slice(subject.lastIndexOf('.') + 1));
}
