/**
 * Empties instances of the streams that this router has on them: those that drain (their own word, or the controller's), and those that
 * somebody ordered to be emptied (`sluice kv drain`), as they say themselves to every router. Level-triggered: it looks again until nothing
 * is left, so that what could not move yet moves later.
 */
import { type Cancel, type Clock, SluiceError } from '../../../shared/index.ts';
import type { Instance } from '../../instances/instance.ts';
import type { MoveRecord } from '../../record/index.ts';
import type { Flight } from '../flight.ts';

export interface MoverOptions {
  readonly clock: Clock;
  readonly instances: () => readonly Instance[];
  readonly flights: () => Iterable<Pick<Flight, 'decodeInstance' | 'moveSource' | 'move'>>;
  /** Has the instance tell all routers that it is to be emptied. */
  readonly empty: (instance: Instance) => Promise<void>;
}

export interface DrainOutcome {
  readonly instance: string;
  /** Streams of this router that went elsewhere with their KV. */
  readonly moved: number;
  /** Streams of this router that went elsewhere without their KV: the engine does not offer it. */
  readonly recomputed: number;
  /** Moves of this router that were given up, by reason; each of them is tried again while there is time. */
  readonly aborted: Readonly<Record<string, number>>;
  /** Requests of other routers that were on it at the beginning: those routers move them. */
  readonly others: number;
  /**
   * Requests that are on it at the end, of all routers: streams that could not move, and answers that are none. Null = it does not say: it
   * ended, or cannot be reached.
   */
  readonly left: number | null;
  readonly ms: number;
}

/** Follows an instance that is to be emptied until it is. */
interface Drain {
  /** The very one: another that comes under its id later is not meant. */
  readonly instance: Instance;
  readonly startedAt: number;
  readonly deadlineAt: number;
  readonly resolve: (outcome: DrainOutcome) => void;
  readonly reject: (error: unknown) => void;
  readonly aborted: Record<string, number>;
  readonly others: number;
  /** When it was first heard after the order that it is to be emptied; null = not yet. */
  heardAt: number | null;
  moved: number;
  recomputed: number;
}

const LOOK_MS = 50;
/** Streams of one instance that move at one time: each takes of what the others decode with. */
const MOVES_AT_ONCE = 4;
const MAX_DRAINS = 1024;
/**
 * Milliseconds after which nothing old is heard: what a router placed there before it knew is counted by then (a load is 200 ms old at most,
 * an agent's count 250 ms more), and who took it back did so after this order, not before.
 */
const NOTICE_MS = 600;

export class Mover {
  readonly #options: MoverOptions;
  readonly #drains = new Set<Drain>();
  #cancelTimer: Cancel | null = null;
  #closed = false;

  constructor(options: MoverOptions) {
    this.#options = options;
  }

  /** An instance drains, or has just said that it is to be emptied: it may take that back before the next look. */
  wake(): void {
    this.#hear();
    if (this.#cancelTimer === null && !this.#closed) this.#look();
  }

  /**
   * Has every router place nothing new there and move what it has there, and follows it until nothing is left, the time is over, the order
   * is taken back or the instance is gone.
   * @throws SluiceError queue_full; unavailable when the instance cannot be told, or the router ends meanwhile
   */
  async drain(instance: Instance, deadlineMs: number): Promise<DrainOutcome> {
    if (this.#closed) throw ending();
    if (this.#drains.size >= MAX_DRAINS)
      throw new SluiceError('queue_full', `${MAX_DRAINS} orders to drain are under way already`, { retryAfterSeconds: 1 });
    const startedAt = this.#options.clock.now();
    const others = Math.max(0, instance.running - instance.inFlight);
    return new Promise((resolve, reject) => {
      const found = { instance, startedAt, deadlineAt: startedAt + deadlineMs, others };
      const drain: Drain = { ...found, resolve, reject, aborted: {}, heardAt: null, moved: 0, recomputed: 0 };
      // Before it is told: its streams may be elsewhere before its answer is here.
      this.#drains.add(drain);
      this.wake();
      this.#options.empty(instance).catch((thrown: unknown) => {
        if (this.#drains.delete(drain)) reject(thrown);
      });
    });
  }

  moveOver({ from, way, state, reason }: MoveRecord): void {
    for (const drain of this.#drains) {
      if (drain.instance.id !== from) continue;
      if (way === 'recompute') drain.recomputed += 1;
      else if (state === 'released') drain.moved += 1;
      else if (reason !== null) drain.aborted[reason] = (drain.aborted[reason] ?? 0) + 1;
    }
  }

  close(): void {
    this.#closed = true;
    this.#cancelTimer?.();
    for (const { reject } of this.#drains) reject(ending());
    this.#drains.clear();
  }

  #look(): void {
    this.#cancelTimer = null;
    const leaving = new Map<Instance, string>();
    for (const instance of this.#options.instances()) {
      const why = whyEmptied(instance);
      if (why !== null) leaving.set(instance, why);
    }
    if (leaving.size > 0) this.#moveFrom(leaving);
    this.#settle();
    if (leaving.size > 0 || this.#drains.size > 0) this.#cancelTimer = this.#options.clock.after(LOOK_MS, () => this.#look());
  }

  #moveFrom(leaving: ReadonlyMap<Instance, string>): void {
    const underWay = new Map<Instance, number>();
    const flights = [...this.#options.flights()];
    for (const { moveSource } of flights) if (moveSource) underWay.set(moveSource, (underWay.get(moveSource) ?? 0) + 1);
    for (const flight of flights) {
      const { decodeInstance } = flight;
      const why = decodeInstance === null ? undefined : leaving.get(decodeInstance);
      if (decodeInstance === null || why === undefined) continue;
      const count = underWay.get(decodeInstance) ?? 0;
      if (count < MOVES_AT_ONCE && flight.move(why)) underWay.set(decodeInstance, count + 1);
    }
  }

  #hear(): void {
    const now = this.#options.clock.now();
    for (const drain of this.#drains) if (drain.instance.emptied) drain.heardAt ??= now;
  }

  #settle(): void {
    this.#hear();
    const now = this.#options.clock.now();
    const present = new Set(this.#options.instances());
    for (const drain of this.#drains) {
      const { instance, startedAt, deadlineAt, heardAt, moved, recomputed, aborted, others } = drain;
      const left = leftOn(instance);
      const isHeardByAll = heardAt !== null && now >= heardAt + NOTICE_MS;
      const isOver = isHeardByAll && left !== null && (left === 0 || !instance.emptied);
      if (!isOver && now < deadlineAt && present.has(instance)) continue;
      this.#drains.delete(drain);
      drain.resolve({ instance: instance.id, moved, recomputed, aborted, others, left, ms: now - startedAt });
    }
  }
}

/** By its own count and by ours, which each knows first of what the other will know. */
function leftOn({ load, inFlight }: Instance): number | null {
  return load === null ? null : Math.max(inFlight, load.running + load.waiting);
}

function ending(): SluiceError {
  return new SluiceError('unavailable', 'the router is shutting down, and moves nothing any more');
}

function whyEmptied({ emptied, draining, load }: Instance): string | null {
  if (emptied) return 'sluice kv drain';
  if (load?.draining === true) return 'the instance ends';
  return draining ? 'the instance leaves the pool' : null;
}
