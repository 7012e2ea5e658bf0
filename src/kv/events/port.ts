/**
 * The event log: instances tell what they hold and how loaded they are, whoever follows hears it.
 *
 * Invariants
 * - Telling never waits: what cannot be told in time is dropped, and a snapshot is told in its place when it can be.
 * - A follower's listener sees, of every life, a snapshot and then its events in order, or says `gap` and gets a snapshot anew. Messages
 *   that come twice, late or in another order change nothing.
 * - An instance that was restarted is known by its new incarnation; the first word of that ends what the earlier one held. A life that was never
 *   heard of before is a new one, even if its words come late: whoever knows which life is published refuses the others.
 * - `isTold` is true only while nothing that the instance said is missing: its beats come, and events up to the last beat were applied.
 */
import type { ApplyOutcome } from '../directory/port.ts';
import type { Life } from '../directory/shared/port.ts';
import type { KvEventEnvelope, KvSnapshot } from './event.ts';
import type { EventFault } from './fault.ts';

/** What is told of: an engine. */
export interface EventSource {
  snapshot(): KvSnapshot;
  /** Calls back for every event after the current snapshot; returns how to stop. */
  onEvent(listener: (envelope: KvEventEnvelope) => void): () => void;
  /** How loaded it is: anything that JSON can hold, at most 32 KiB. */
  load(): unknown;
}

export interface Telling {
  readonly stats: TellingStats;
  /** Nothing more is told. Idempotent. */
  stop(): void;
}

export interface TellingStats {
  /** Events that the log has taken. */
  readonly events: number;
  readonly snapshots: number;
  /** Events that a snapshot took the place of. */
  readonly dropped: number;
}

export interface EventListener {
  /** As `Directory.apply` answers. `gap` asks for a snapshot. */
  update(instance: string, update: KvEventEnvelope | KvSnapshot): ApplyOutcome;
  load?(instance: string, incarnation: string, load: unknown): void;
}

export interface Following {
  readonly stats: FollowingStats;
  /** Whether all is known that this life has told. */
  isTold(life: Life): boolean;
  /** Asks the instance for a snapshot; again and again, ever more seldom, until it came, or nothing came of it for a minute. */
  want(instance: string): void;
  stop(): void;
}

export interface FollowingStats {
  readonly events: number;
  readonly snapshots: number;
  /** Holes that were seen, so that a snapshot was asked for. */
  readonly gaps: number;
  /** Messages that could not be read. */
  readonly unreadable: number;
}

export type Health = { readonly state: 'up' } | { readonly state: 'away'; readonly fault: EventFault };

export interface EventLog {
  /** @throws RangeError when a name of the life is no name */
  tell(life: Life, source: EventSource): Telling;
  /** From now on, all instances of the space. */
  follow(listener: EventListener): Following;
}

/** The log of one space: those of one ServingDeployment see each other. */
export interface EventBus {
  readonly log: EventLog;
  readonly health: Health;
  /** Calls back whenever the health is another one; returns how to stop. */
  onHealth(listener: (health: Health) => void): () => void;
  /** Resolves when it is up. @throws EventFault after `withinMs`, or at once when waiting has no sense */
  ready(withinMs: number): Promise<void>;
  close(): Promise<void>;
}
