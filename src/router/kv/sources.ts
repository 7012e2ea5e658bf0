/**
 * Where a router learns what each instance holds: from the event log, and while that does not tell, from the instance itself.
 *
 * Invariants
 * - Only what the published life of an instance says counts, and only while the instance is connected.
 * - Both sources speak of the same events with the same numbers, so it does no harm that both tell for a while.
 */
import type { ApplyOutcome, Directory, EventBus, Following, KvEventEnvelope, KvSnapshot } from '../../kv/index.ts';
import type { Cancel, Clock } from '../../shared/index.ts';
import { Feed } from '../instances/feed.ts';
import type { Instance } from '../instances/instance.ts';
import { Pulse } from '../instances/pulse.ts';

export interface BlockSourcesOptions {
  readonly bus: EventBus;
  readonly directory: Directory;
  readonly clock: Clock;
  readonly random: () => number;
}

/** How the blocks of an instance are known: by the log, by its own feed, or not yet. */
export type BlockSource = 'log' | 'feed' | 'none';

interface Member {
  readonly instance: Instance;
  /** Its own, while the log does not tell. */
  feed: Feed | null;
  /** That has told a snapshot. */
  fed: boolean;
  /** When the log began to tell of it, or stopped; monotonic milliseconds. */
  since: number;
  told: boolean;
}

const TICK_MS = 100;
/** A snapshot is on its way within some milliseconds of being asked for. */
const PATIENCE_MS = 500;
/** How long the log must have told before the feed is given up. */
const TRUST_MS = 1_000;

export class BlockSources {
  readonly #options: BlockSourcesOptions;
  readonly #members = new Map<string, Member>();
  readonly #following: Following;
  #cancel: Cancel | null = null;

  constructor(options: BlockSourcesOptions) {
    this.#options = options;
    this.#following = options.bus.log.follow({ update: (instance, update) => this.#update(instance, update) });
    this.#tick();
  }

  get stats(): Following['stats'] {
    return this.#following.stats;
  }

  /** Null = up; else why not. */
  get away(): string | null {
    const { health } = this.#options.bus;
    return health.state === 'up' ? null : health.fault.message;
  }

  /** Its feed is connected: from now on it counts. */
  connected(instance: Instance): void {
    if (this.#members.get(instance.id)?.instance === instance) return;
    this.left(instance);
    this.#members.set(instance.id, { instance, feed: null, fed: false, since: this.#options.clock.now(), told: false });
    this.#following.want(instance.id);
  }

  /** What it told is forgotten. */
  left(instance: Instance): void {
    const member = this.#members.get(instance.id);
    if (!member) return;
    member.feed?.close();
    this.#members.delete(instance.id);
  }

  sourceOf(instance: Instance): BlockSource {
    const member = this.#members.get(instance.id);
    if (!member || member.instance !== instance) return 'none';
    if (this.#following.isTold({ instance: instance.id, incarnation: instance.incarnation })) return 'log';
    return member.fed ? 'feed' : 'none';
  }

  close(): void {
    this.#cancel?.();
    this.#following.stop();
    for (const { instance } of this.#members.values()) this.left(instance);
  }

  #update(id: string, update: KvEventEnvelope | KvSnapshot): ApplyOutcome {
    const member = this.#members.get(id);
    // Another life: the controller has not told of it yet, or no more.
    if (!member || member.instance.incarnation !== update.incarnation) return 'refused';
    return this.#options.directory.apply(id, update);
  }

  #tick(): void {
    const now = this.#options.clock.now();
    for (const member of this.#members.values()) this.#look(member, now);
    this.#cancel = this.#options.clock.after(TICK_MS, () => this.#tick());
  }

  #look(member: Member, now: number): void {
    const { instance } = member;
    const told = this.#following.isTold({ instance: instance.id, incarnation: instance.incarnation });
    if (told !== member.told) Object.assign(member, { told, since: now });
    const forMs = now - member.since;
    if (told && member.feed !== null && forMs >= TRUST_MS) {
      member.feed.close();
      Object.assign(member, { feed: null, fed: false });
    }
    if (!told && member.feed === null && (this.away !== null || forMs >= PATIENCE_MS)) this.#openFeed(member);
  }

  #openFeed(member: Member): void {
    const { clock, random, directory } = this.#options;
    const { instance } = member;
    const { pool, host } = instance.published;
    const listener = {
      info: ({ incarnation }: { readonly incarnation: string }) => incarnation === instance.incarnation,
      load: () => undefined,
      update: (update: KvEventEnvelope | KvSnapshot) => {
        const outcome = directory.apply(instance.id, update);
        const taken = outcome === 'applied' || outcome === 'stale';
        if (taken && 'tiers' in update) member.fed = true;
        return taken;
      },
      lost: () => {
        member.fed = false;
      },
    };
    member.feed = new Feed({ pool, host, clock, random, listener, pulse: new Pulse(clock.now()) });
  }
}
