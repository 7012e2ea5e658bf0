/**
 * Tells of one life: a snapshot, then events in batches, and a beat every 200 ms.
 *
 * Invariants
 * - At most `maxQueuedKeys` keys wait and `window` messages are unanswered, whatever the server does.
 * - An event is told once, or a later snapshot holds what it changed. Nothing is told twice by intent.
 */
import { type BackoffPolicy, backoffMs, type Cancel, type Clock } from '../../shared/index.ts';
import type { Life } from '../directory/shared/port.ts';
import { encodeMessage, type LogRecord, recordBytes, type SnapshotPart } from './codec.ts';
import type { KvEventEnvelope, KvSnapshot, Tier } from './event.ts';
import type { EventSource, Telling, TellingStats } from './port.ts';
import type { Wire } from './wire.ts';

export interface TellerLimits {
  /** Keys that wait; default 131,072, which is 2 MiB as told. */
  readonly maxQueuedKeys: number;
  /** Messages without an answer; default 16. */
  readonly window: number;
  /** Milliseconds between two beats; default 200. */
  readonly beatMs: number;
  /** Milliseconds between two snapshots at least; default 200. */
  readonly snapshotMs: number;
}

export const TELLER_LIMITS: TellerLimits = { maxQueuedKeys: 131_072, window: 16, beatMs: 200, snapshotMs: 200 };

/** Of one message; servers take 1 MiB unless told. */
const BATCH_BYTES = 32 * 1024;
const PART_KEYS = 2_000;
const MAX_BEAT_BYTES = 32 * 1024;
/** Keys of one event; more are told by a snapshot. */
export const MAX_EVENT_KEYS = 32_000;
/** Beside its keys, what an event counts for. */
const EVENT_WEIGHT = 1;
const AGAIN: BackoffPolicy = { firstMs: 100, maxMs: 2_000, factor: 2 };

export interface TellerOptions {
  readonly wire: Wire;
  readonly life: Life;
  readonly source: EventSource;
  readonly clock: Clock;
  readonly random: () => number;
  readonly limits: TellerLimits;
}

export class Teller implements Telling {
  readonly #options: TellerOptions;
  #queue: KvEventEnvelope[] = [];
  /** Where the queue begins: taking from the front of an array moves all the rest. */
  #head = 0;
  #queuedWeight = 0;
  #parts: Iterator<SnapshotPart> | null = null;
  /** A snapshot is wanted: nothing else is told before it. */
  #wanted = true;
  #lastSeq = 0;
  #unanswered = 0;
  #failures = 0;
  #nextSnapshotAt = Number.NEGATIVE_INFINITY;
  #cancelAgain: Cancel | null = null;
  #cancelBeat: Cancel | null = null;
  #pumping = false;
  #stopped = false;
  readonly #ends: (() => void)[];
  readonly #counts = { events: 0, snapshots: 0, dropped: 0 };

  constructor(options: TellerOptions) {
    this.#options = options;
    const { wire, life, source } = options;
    this.#ends = [
      source.onEvent((envelope) => this.#take(envelope)),
      wire.onAsk(life.instance, () => this.#want()),
      wire.onChange(() => this.#changed()),
    ];
    this.#beat();
    this.#pumpSoon();
  }

  get stats(): TellingStats {
    return { ...this.#counts };
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelAgain?.();
    this.#cancelBeat?.();
    for (const end of this.#ends) end();
    this.#drop();
  }

  #take(envelope: KvEventEnvelope): void {
    this.#lastSeq = envelope.seq;
    // The snapshot to come holds it.
    if (this.#wanted) {
      this.#counts.dropped += 1;
      return;
    }
    const { event } = envelope;
    const keys = event.type === 'cleared' ? 0 : event.keys.length;
    if (keys > MAX_EVENT_KEYS || this.#queuedWeight + keys + EVENT_WEIGHT > this.#options.limits.maxQueuedKeys) {
      this.#counts.dropped += 1;
      return this.#want();
    }
    this.#queue.push(envelope);
    this.#queuedWeight += keys + EVENT_WEIGHT;
    this.#pumpSoon();
  }

  /** Everything that waits is dropped: the snapshot will hold it. */
  #want(): void {
    if (this.#stopped) return;
    this.#wanted = true;
    this.#drop();
    this.#pumpSoon();
  }

  #drop(): void {
    this.#counts.dropped += this.#queue.length - this.#head;
    this.#queue = [];
    this.#head = 0;
    this.#queuedWeight = 0;
    this.#parts = null;
  }

  /** Came up, or went away: what was sent may be lost, so all is told anew. */
  #changed(): void {
    if (this.#options.wire.isUp) this.#failures = 0;
    this.#want();
  }

  /** Events of one turn of the event loop go together. */
  #pumpSoon(): void {
    if (this.#pumping || this.#stopped) return;
    this.#pumping = true;
    setImmediate(() => {
      this.#pumping = false;
      this.#pump();
    });
  }

  #pump(): void {
    const { wire, life, limits, clock } = this.#options;
    if (this.#stopped || !wire.isUp || this.#cancelAgain !== null) return;
    if (this.#wanted) {
      const waitMs = this.#nextSnapshotAt - clock.now();
      if (waitMs > 0) return this.#againAfter(waitMs);
      this.#beginSnapshot();
    }
    while (this.#unanswered < limits.window) {
      const records = this.#nextBatch();
      if (records.length === 0) return;
      this.#send(life, records);
    }
  }

  #beginSnapshot(): void {
    const { source, limits, clock } = this.#options;
    const snapshot = source.snapshot();
    this.#wanted = false;
    this.#lastSeq = snapshot.seq;
    this.#nextSnapshotAt = clock.now() + limits.snapshotMs;
    this.#counts.snapshots += 1;
    this.#parts = partsOf(snapshot);
  }

  #nextBatch(): LogRecord[] {
    const records: LogRecord[] = [];
    let bytes = 0;
    while (bytes < BATCH_BYTES && records.length < 1_024) {
      const record = this.#nextRecord(BATCH_BYTES - bytes, records.length === 0);
      if (record === null) break;
      records.push(record);
      bytes += recordBytes(record);
    }
    return records;
  }

  /** @param isFirst then it may be larger than there is room */
  #nextRecord(room: number, isFirst: boolean): LogRecord | null {
    if (this.#parts !== null) {
      const { done, value } = this.#parts.next();
      if (!done) return value;
      this.#parts = null;
    }
    const envelope = this.#queue[this.#head];
    if (envelope === undefined) return null;
    const record: LogRecord = { kind: 'event', envelope };
    if (!isFirst && recordBytes(record) > room) return null;
    this.#head += 1;
    this.#queuedWeight -= EVENT_WEIGHT + (envelope.event.type === 'cleared' ? 0 : envelope.event.keys.length);
    if (this.#head === this.#queue.length) {
      this.#queue = [];
      this.#head = 0;
    }
    return record;
  }

  #send(life: Life, records: readonly LogRecord[]): void {
    this.#unanswered += 1;
    this.#options.wire.append(life.instance, encodeMessage(life.incarnation, records)).then(
      () => {
        this.#unanswered -= 1;
        this.#failures = 0;
        this.#counts.events += records.filter(({ kind }) => kind === 'event').length;
        this.#pumpSoon();
      },
      () => {
        // Whether it arrived or not: a hole, or what comes twice, is mended by the next snapshot.
        this.#unanswered -= 1;
        this.#want();
        if (this.#cancelAgain === null) this.#againAfter(backoffMs(AGAIN, this.#failures++, this.#options.random()));
      },
    );
  }

  #againAfter(ms: number): void {
    if (this.#stopped) return;
    this.#cancelAgain?.();
    this.#cancelAgain = this.#options.clock.after(ms, () => {
      this.#cancelAgain = null;
      this.#pump();
    });
  }

  #beat(): void {
    const { wire, life, source, clock, limits } = this.#options;
    if (this.#stopped) return;
    if (wire.isUp && !this.#wanted) {
      const head = { incarnation: life.incarnation, seq: this.#lastSeq };
      const beat = Buffer.from(JSON.stringify({ ...head, load: source.load() }));
      // A server breaks the connection over a message that is too large.
      wire.beat(life.instance, beat.length <= MAX_BEAT_BYTES ? beat : Buffer.from(JSON.stringify(head)));
    }
    this.#cancelBeat = clock.after(limits.beatMs, () => this.#beat());
  }
}

function* partsOf({ incarnation, seq, tiers }: KvSnapshot): Generator<SnapshotPart> {
  const held = Object.entries(tiers).filter((entry): entry is [Tier, readonly string[]] => (entry[1]?.length ?? 0) > 0);
  const parts = Math.max(
    1,
    held.reduce((sum, [, keys]) => sum + Math.ceil(keys.length / PART_KEYS), 0),
  );
  if (held.length === 0) yield { kind: 'snapshot', incarnation, seq, part: 0, parts, tier: 'hbm', keys: [] };
  let part = 0;
  for (const [tier, keys] of held) {
    for (let from = 0; from < keys.length; from += PART_KEYS)
      yield { kind: 'snapshot', incarnation, seq, part: part++, parts, tier, keys: keys.slice(from, from + PART_KEYS) };
  }
}
