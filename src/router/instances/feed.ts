/**
 * The router's live feed from one engine: first what it is (`/sluice/info`), then what it holds and how loaded it is
 * (`/sluice/events`), for as long as both live. A feed that breaks, falls silent or shows a gap is connected again; while it is down
 * the instance is not routable. The time that this process itself stood still is no silence of the engine.
 */
import type { EngineInfo, EngineLoad } from '../../engines/index.ts';
import type { KvEventEnvelope, KvSnapshot } from '../../kv/index.ts';
import { type BackoffPolicy, backoffMs, type Cancel, type Clock } from '../../shared/index.ts';
import { fetchBuffered, type Leg, type Pool, type ResponseSink } from '../upstream/index.ts';
import type { Pulse } from './pulse.ts';

export interface FeedListener {
  /** What the instance is, when it answers; false refuses it (another model, another life). */
  info(info: EngineInfo): boolean;
  load(load: EngineLoad): void;
  /** False asks for a fresh snapshot. */
  update(update: KvEventEnvelope | KvSnapshot): boolean;
  /** Nothing is known any more until the next `info`. */
  lost(reason: string): void;
}

export interface FeedOptions {
  readonly pool: Pool;
  /** Host header. */
  readonly host: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly listener: FeedListener;
  /** The instance's, kept going until the feed is closed. */
  readonly pulse: Pulse;
  /** `load`: how loaded it is, without what it holds. Default `all`. */
  readonly tells?: 'all' | 'load';
  /** Milliseconds without a line after which it is connected anew; 5 s unless told. */
  readonly lostMs?: number;
}

const RECONNECT: BackoffPolicy = { firstMs: 50, maxMs: 1_000, factor: 2 };
/** Loads come every 200 ms. One that says nothing for so long is taken for gone; before that it may only be starved of CPU, and its pulse judges. */
const LOST_MS = 5_000;
const TICK_MS = 100;
const CONNECT_TIMEOUT_MS = 2_000;
const MAX_INFO_BYTES = 1 << 20;
/** A snapshot names every block that an instance holds. */
const MAX_LINE_BYTES = 64 << 20;
const NEWLINE = 10;

export class Feed {
  readonly #options: FeedOptions;
  #leg: Leg | null = null;
  #cancelRetry: Cancel | null = null;
  #cancelTick: Cancel | null = null;
  #attempt = 0;
  #closed = false;
  readonly #lostMs: number;
  #partial: Buffer[] = [];
  #partialBytes = 0;

  constructor(options: FeedOptions) {
    this.#options = options;
    this.#lostMs = options.lostMs ?? LOST_MS;
    this.#tick();
    void this.#connect();
  }

  close(): void {
    this.#closed = true;
    this.#cancelRetry?.();
    this.#cancelTick?.();
    this.#leg?.abort();
  }

  async #connect(): Promise<void> {
    const { pool, host, clock, listener } = this.#options;
    try {
      const answer = await fetchBuffered(pool, get('/sluice/info', host), null, {
        clock,
        timeoutMs: CONNECT_TIMEOUT_MS,
        maxBytes: MAX_INFO_BYTES,
      });
      if (this.#closed) return;
      if (answer.status !== 200) return this.#retry(`/sluice/info answered ${answer.status}`);
      const info: EngineInfo = JSON.parse(answer.body.toString('utf8'));
      if (!listener.info(info)) return this.#retry('it is not the published instance');
    } catch (error) {
      return this.#retry(error instanceof Error ? error.message : String(error));
    }
    this.#options.pulse.connected();
    this.#partial = [];
    this.#partialBytes = 0;
    const path = this.#options.tells === 'load' ? '/sluice/events?blocks=0' : '/sluice/events';
    this.#leg = pool.request(get(path, host), null, this.#sink());
  }

  #sink(): ResponseSink {
    return {
      head: (head) => {
        if (head.status !== 200) this.#broken(`/sluice/events answered ${head.status}`);
      },
      data: (piece) => this.#data(piece),
      flush: () => undefined,
      end: () => this.#broken('the feed ended'),
      fail: (failure) => this.#broken(failure.message),
    };
  }

  #tick(): void {
    const { clock, pulse } = this.#options;
    const everyMs = Math.min(TICK_MS, this.#lostMs / 4);
    this.#cancelTick = clock.after(everyMs, () => {
      pulse.tick(clock.now(), 2 * everyMs);
      this.#tick();
      if (this.#leg !== null && pulse.quietMs > this.#lostMs) this.#broken('it fell silent');
    });
  }

  #data(piece: Buffer): void {
    let from = 0;
    for (let at = piece.indexOf(NEWLINE); at >= 0 && this.#leg; at = piece.indexOf(NEWLINE, from)) {
      const tail = piece.subarray(from, at);
      const line = this.#partial.length === 0 ? tail : Buffer.concat([...this.#partial, tail]);
      this.#partial = [];
      this.#partialBytes = 0;
      from = at + 1;
      this.#line(line.toString('utf8'));
    }
    if (from === piece.length) return;
    this.#options.pulse.moved();
    this.#partial.push(Buffer.from(piece.subarray(from)));
    this.#partialBytes += piece.length - from;
    if (this.#partialBytes > MAX_LINE_BYTES) this.#broken('a line is too long');
  }

  #line(line: string): void {
    const { listener, pulse } = this.#options;
    pulse.heard();
    this.#attempt = 0;
    let message: { type?: string; load?: EngineLoad } & Partial<KvEventEnvelope & KvSnapshot>;
    try {
      message = JSON.parse(line);
    } catch {
      return this.#broken('a line is no JSON');
    }
    if (message.type === 'load' && message.load) return listener.load(message.load);
    const { incarnation, seq, event, tiers } = message;
    if (incarnation === undefined || seq === undefined) return;
    if (message.type === 'snapshot' && tiers && !listener.update({ incarnation, seq, tiers })) this.#broken('its snapshot was refused');
    if (message.type === 'event' && event && !listener.update({ incarnation, seq, event })) this.#broken('events are missing');
  }

  #broken(reason: string): void {
    const leg = this.#leg;
    if (!leg) return;
    this.#leg = null;
    leg.abort();
    this.#retry(reason);
  }

  #retry(reason: string): void {
    if (this.#closed) return;
    this.#options.listener.lost(reason);
    this.#cancelRetry?.();
    this.#cancelRetry = this.#options.clock.after(
      backoffMs(RECONNECT, this.#attempt++, this.#options.random()),
      () => void this.#connect(),
    );
  }
}

function get(path: string, host: string): string {
  return `GET ${path} HTTP/1.1\r\nhost: ${host}\r\n\r\n`;
}
