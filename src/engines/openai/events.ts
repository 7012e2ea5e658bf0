/**
 * `GET /sluice/events`: what an engine holds and how loaded it is, told to every subscriber as lines of JSON.
 *
 * Here, too, is kept that somebody ordered the engine to be emptied: all who place requests on it hear it, whoever was asked.
 *
 * A line is made once for all subscribers. A subscriber that does not read is dropped when its buffer is full; it connects again and
 * gets a new snapshot. While nobody listens there is no timer and no listener at the core.
 */
import type { ServerResponse } from 'node:http';
import type { KvEventEnvelope } from '../../kv/index.ts';
import type { Cancel, Clock } from '../../shared/index.ts';
import type { EngineCore } from '../port.ts';

const LOAD_EVERY_MS = 200;

/** The part of an engine that is told here. */
export type ToldEngine = Pick<EngineCore, 'snapshot' | 'onEvent' | 'load'>;

interface Subscriber {
  readonly response: ServerResponse;
  /** Events up to this one are in the snapshot that it got; infinite = it wants none. */
  readonly snapshotSeq: number;
}

export interface EventHubOptions {
  readonly core: ToldEngine;
  readonly clock: Clock;
  readonly bufferedBytes: number;
  readonly maxSubscribers: number;
}

export class EventHub {
  readonly #options: EventHubOptions;
  readonly #subscribers = new Set<Subscriber>();
  #stopListening: (() => void) | null = null;
  #cancelTimer: Cancel | null = null;
  #dropped = 0;
  #emptied = false;

  constructor(options: EventHubOptions) {
    this.#options = options;
  }

  get subscribers(): number {
    return this.#subscribers.size;
  }

  /** Subscribers dropped since the start because they did not read. */
  get dropped(): number {
    return this.#dropped;
  }

  /**
   * False when there are too many subscribers already.
   * @param url as it was asked for: with `blocks=0` only how loaded the engine is, not what it holds
   */
  subscribe(response: ServerResponse, url: string | undefined): boolean {
    const { core, maxSubscribers } = this.#options;
    if (this.#subscribers.size >= maxSubscribers) return false;
    const snapshot = wantsBlocks(url) ? core.snapshot() : null;
    const subscriber = { response, snapshotSeq: snapshot?.seq ?? Number.POSITIVE_INFINITY };
    response.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-cache' });
    response.on('close', () => this.#remove(subscriber));
    this.#subscribers.add(subscriber);
    this.#stopListening ??= core.onEvent((envelope) => this.#publish(envelope));
    const first = snapshot === null ? '' : `${JSON.stringify({ type: 'snapshot', ...snapshot })}\n`;
    this.#write(subscriber, `${first}${this.#loadLine()}`);
    if (this.#cancelTimer === null) this.#tick();
    return true;
  }

  /**
   * Its streams are to go elsewhere, or not any more. Told at once, and with every load from now on; the end of the process is the end of
   * it.
   */
  empty(emptied: boolean): void {
    this.#emptied = emptied;
    this.#tellLoad();
  }

  close(): void {
    for (const { response } of this.#subscribers) response.destroy();
    this.#subscribers.clear();
    this.#rest();
  }

  #publish(envelope: KvEventEnvelope): void {
    const { incarnation, seq, event } = envelope;
    const line = `${JSON.stringify({ type: 'event', incarnation, seq, event })}\n`;
    for (const subscriber of this.#subscribers) if (seq > subscriber.snapshotSeq) this.#write(subscriber, line);
  }

  #loadLine(): string {
    return `${JSON.stringify({ type: 'load', load: { ...this.#options.core.load(), emptied: this.#emptied } })}\n`;
  }

  #tick(): void {
    this.#cancelTimer = this.#options.clock.after(LOAD_EVERY_MS, () => {
      this.#tellLoad();
      if (this.#subscribers.size > 0) this.#tick();
    });
  }

  #tellLoad(): void {
    if (this.#subscribers.size === 0) return;
    const line = this.#loadLine();
    for (const subscriber of this.#subscribers) this.#write(subscriber, line);
  }

  #write(subscriber: Subscriber, line: string): void {
    const { response } = subscriber;
    if (response.destroyed || response.write(line) || response.writableLength <= this.#options.bufferedBytes) return;
    this.#dropped += 1;
    response.destroy();
    this.#remove(subscriber);
  }

  #remove(subscriber: Subscriber): void {
    this.#subscribers.delete(subscriber);
    if (this.#subscribers.size === 0) this.#rest();
  }

  #rest(): void {
    this.#stopListening?.();
    this.#stopListening = null;
    this.#cancelTimer?.();
    this.#cancelTimer = null;
  }
}

function wantsBlocks(url: string | undefined): boolean {
  const query = url?.split('?', 2)[1];
  return query === undefined || new URLSearchParams(query).get('blocks') !== '0';
}
