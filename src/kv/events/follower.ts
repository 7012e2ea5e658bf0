/**
 * Follows what all instances of a space tell. The listener knows by `seq` what is missing; this sees to it that it comes.
 *
 * Invariants
 * - A hole is noticed by the next event, and where none comes, by the beats, within `LAG_MS`.
 * - At most `MAX_INSTANCES` are known of, and of each at most one snapshot is being put together. One that is silent is forgotten.
 */
import { type BackoffPolicy, backoffMs, type Cancel, type Clock } from '../../shared/index.ts';
import type { ApplyOutcome } from '../directory/port.ts';
import type { Life } from '../directory/shared/port.ts';
import { decodeMessage, type LogRecord, type SnapshotPart, UnreadableMessage } from './codec.ts';
import type { KvEventEnvelope, KvSnapshot, Tier } from './event.ts';
import type { EventListener, Following, FollowingStats } from './port.ts';
import type { Wire } from './wire.ts';

/** How long events may be behind the beats: longer than any batch is under way. */
const LAG_MS = 1_000;
/** Five beats. */
const SILENT_MS = 1_000;
const FORGOTTEN_MS = 60_000;
const TICK_MS = 100;
const MAX_INSTANCES = 4_096;
const MAX_SNAPSHOT_KEYS = 2 ** 26;
const ASK: BackoffPolicy = { firstMs: 250, maxMs: 5_000, factor: 2 };

interface Known {
  incarnation: string;
  /** When anything came, or it was asked for. */
  heardAt: number;
  /** Of the last event that came. */
  heard: number;
  /** Of what the listener has applied. */
  applied: number;
  /** The listener has a snapshot, and no hole since. */
  whole: boolean;
  beatAt: number;
  beatSeq: number;
  behindSince: number | null;
  assembling: {
    readonly incarnation: string;
    readonly seq: number;
    next: number;
    readonly parts: number;
    keys: number;
    readonly tiers: Partial<Record<Tier, string[]>>;
  } | null;
  /** Wants a snapshot: when to ask again, and how often it did. */
  ask: { at: number; attempt: number } | null;
}

export interface FollowerOptions {
  readonly wire: Wire;
  readonly clock: Clock;
  readonly random: () => number;
  readonly listener: EventListener;
}

export class Follower implements Following {
  readonly #options: FollowerOptions;
  readonly #known = new Map<string, Known>();
  readonly #ends: (() => void)[];
  readonly #counts = { events: 0, snapshots: 0, gaps: 0, unreadable: 0 };
  #cancelTick: Cancel | null = null;
  #stopped = false;

  constructor(options: FollowerOptions) {
    this.#options = options;
    const { wire } = options;
    this.#ends = [
      wire.read({ message: (instance, message) => this.#message(instance, message), anew: () => this.#anew() }),
      wire.onBeat((instance, message) => this.#beat(instance, message)),
    ];
    this.#tick();
  }

  get stats(): FollowingStats {
    return { ...this.#counts };
  }

  isTold({ instance, incarnation }: Life): boolean {
    const known = this.#known.get(instance);
    if (!known || !this.#options.wire.isUp) return false;
    return known.whole && known.incarnation === incarnation && this.#options.clock.now() - known.beatAt <= SILENT_MS;
  }

  want(instance: string): void {
    const known = this.#know(instance, '');
    if (!known) return;
    // What was applied may be gone from the listener.
    known.whole = false;
    this.#ask(instance, known);
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelTick?.();
    for (const end of this.#ends) end();
  }

  /** Messages may be missing: what came before counts again when a snapshot, or the events that follow on it, came. */
  #anew(): void {
    for (const [instance, known] of this.#known) {
      known.assembling = null;
      this.#ask(instance, known);
    }
  }

  #message(instance: string, message: Uint8Array): void {
    let records: LogRecord[];
    try {
      records = decodeMessage(message);
    } catch (error) {
      if (!(error instanceof UnreadableMessage)) throw error;
      this.#counts.unreadable += 1;
      return;
    }
    for (const record of records) {
      if (record.kind === 'snapshot') this.#part(instance, record);
      else this.#event(instance, record.envelope);
    }
  }

  #event(instance: string, envelope: KvEventEnvelope): void {
    const known = this.#know(instance, envelope.incarnation);
    if (!known) return;
    this.#counts.events += 1;
    if (known.incarnation === envelope.incarnation) known.heard = Math.max(known.heard, envelope.seq);
    this.#judge(instance, known, envelope, this.#options.listener.update(instance, envelope));
  }

  #judge(instance: string, known: Known, { incarnation, seq }: KvEventEnvelope | KvSnapshot, outcome: ApplyOutcome): void {
    switch (outcome) {
      case 'applied':
        if (known.incarnation !== incarnation) this.#begin(known, incarnation);
        known.applied = Math.max(known.applied, seq);
        known.whole = true;
        known.ask = null;
        return;
      case 'gap':
        if (known.whole || known.ask === null) this.#counts.gaps += 1;
        known.whole = false;
        return this.#ask(instance, known);
      case 'stale':
        // Of the life that is known, it is known already; of an earlier one, it is no news.
        if (known.incarnation === incarnation) known.applied = Math.max(known.applied, seq);
        return;
      case 'refused':
        known.whole = false;
    }
  }

  #part(instance: string, part: SnapshotPart): void {
    const known = this.#know(instance, part.incarnation);
    if (!known) return;
    const { incarnation, seq, parts } = part;
    if (part.part === 0) known.assembling = { incarnation, seq, next: 0, parts, keys: 0, tiers: {} };
    const { assembling } = known;
    // The rest of a snapshot whose beginning was missed, or a part that came twice: the next one is whole.
    if (assembling === null || assembling.next !== part.part || assembling.parts !== parts) return;
    if (assembling.seq !== seq || assembling.incarnation !== incarnation) return;
    assembling.next += 1;
    assembling.keys += part.keys.length;
    if (assembling.keys > MAX_SNAPSHOT_KEYS) {
      known.assembling = null;
      return;
    }
    const keys = assembling.tiers[part.tier] ?? [];
    for (const key of part.keys) keys.push(key);
    assembling.tiers[part.tier] = keys;
    if (assembling.next < assembling.parts) return;
    known.assembling = null;
    this.#counts.snapshots += 1;
    const snapshot: KvSnapshot = { incarnation, seq, tiers: assembling.tiers };
    const outcome = this.#options.listener.update(instance, snapshot);
    // The listener knows more already, from elsewhere too, and nothing later was missed here.
    if (outcome === 'stale' && known.incarnation === incarnation && seq >= known.heard) Object.assign(known, { whole: true, ask: null });
    this.#judge(instance, known, snapshot, outcome);
  }

  #beat(instance: string, message: Uint8Array): void {
    const beat = readBeat(message);
    if (beat === null) {
      this.#counts.unreadable += 1;
      return;
    }
    const isNew = !this.#known.has(instance);
    const known = this.#know(instance, beat.incarnation);
    if (!known) return;
    known.beatAt = this.#options.clock.now();
    // A later life is known by its snapshot; until that came, its beats are ahead of all that was applied.
    known.beatSeq = beat.incarnation === known.incarnation ? beat.seq : Number.POSITIVE_INFINITY;
    if (isNew) this.#ask(instance, known);
    this.#options.listener.load?.(instance, beat.incarnation, beat.load);
  }

  #know(instance: string, incarnation: string): Known | null {
    const known = this.#known.get(instance);
    const heardAt = this.#options.clock.now();
    if (known) {
      if (known.incarnation === '') known.incarnation = incarnation;
      return Object.assign(known, { heardAt });
    }
    if (this.#known.size >= MAX_INSTANCES) return null;
    const fresh: Known = {
      incarnation,
      heardAt,
      heard: -1,
      applied: -1,
      whole: false,
      beatAt: Number.NEGATIVE_INFINITY,
      beatSeq: -1,
      behindSince: null,
      assembling: null,
      ask: null,
    };
    this.#known.set(instance, fresh);
    return fresh;
  }

  #begin(known: Known, incarnation: string): void {
    known.incarnation = incarnation;
    known.heard = -1;
    known.applied = -1;
    known.beatSeq = -1;
    known.behindSince = null;
  }

  /** Once now, then more seldom, until something was applied. */
  #ask(instance: string, known: Known): void {
    if (known.ask !== null) return;
    known.ask = { at: Number.NEGATIVE_INFINITY, attempt: 0 };
    this.#askIfDue(instance, known);
  }

  #askIfDue(instance: string, known: Known): void {
    const { wire, clock, random } = this.#options;
    const { ask } = known;
    if (ask === null || !wire.isUp || clock.now() < ask.at) return;
    ask.at = clock.now() + backoffMs(ASK, ask.attempt++, random());
    wire.ask(instance);
  }

  #tick(): void {
    if (this.#stopped) return;
    const { clock } = this.#options;
    const now = clock.now();
    for (const [instance, known] of this.#known) {
      if (now - known.heardAt > FORGOTTEN_MS) {
        this.#known.delete(instance);
        continue;
      }
      if (known.beatSeq <= known.applied) known.behindSince = null;
      else known.behindSince ??= now;
      if (known.behindSince !== null && now - known.behindSince > LAG_MS && known.ask === null) {
        this.#counts.gaps += 1;
        known.whole = false;
        known.behindSince = null;
        this.#ask(instance, known);
      }
      this.#askIfDue(instance, known);
    }
    this.#cancelTick = clock.after(TICK_MS, () => this.#tick());
  }
}

interface Beat {
  readonly incarnation: string;
  readonly seq: number;
  readonly load: unknown;
}

function readBeat(message: Uint8Array): Beat | null {
  try {
    const beat: unknown = JSON.parse(Buffer.from(message.buffer, message.byteOffset, message.byteLength).toString('utf8'));
    if (typeof beat !== 'object' || beat === null || !('incarnation' in beat) || !('seq' in beat)) return null;
    const { incarnation, seq } = beat;
    if (typeof incarnation !== 'string' || typeof seq !== 'number') return null;
    return { incarnation, seq, load: 'load' in beat ? beat.load : null };
  } catch {
    return null; // not JSON
  }
}
