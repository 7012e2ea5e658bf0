/**
 * Empties instances of the streams that they decode: those that drain (their own word, or the controller's), and those that somebody
 * ordered to be drained (`sluice kv drain`). Level-triggered: it looks again until nothing is left, so that what could not move yet moves
 * later.
 */
import { type Cancel, type Clock, SluiceError } from '../../../shared/index.ts';
import type { Instance } from '../../instances/instance.ts';
import type { MoveRecord } from '../../record/index.ts';
import type { Flight } from '../flight.ts';

export interface MoverOptions {
  readonly clock: Clock;
  readonly instances: () => readonly Instance[];
  readonly flights: () => Iterable<Pick<Flight, 'decodeInstance' | 'moveSource' | 'move'>>;
}

/** Move every stream that an instance decodes to others. */
export interface DrainOrder {
  readonly instance: Instance;
  /** As people are told. */
  readonly why: string;
  /** Milliseconds from now by which it is to be done. */
  readonly deadlineMs: number;
}

export interface DrainOutcome {
  readonly instance: string;
  readonly moved: number;
  /** Streams that went elsewhere without their KV: the engine does not offer it. */
  readonly recomputed: number;
  /** Moves that were given up, by reason; each of them is tried again while there is time. */
  readonly aborted: Readonly<Record<string, number>>;
  /** Requests of this router that are still on it: streams that could not move, and answers that are none. */
  readonly left: number;
  readonly ms: number;
}

interface Drain {
  /** The very one: another that comes under its id later is not meant. */
  readonly instance: Instance;
  readonly startedAt: number;
  readonly deadlineAt: number;
  readonly resolve: (outcome: DrainOutcome) => void;
  readonly reject: (error: SluiceError) => void;
  readonly aborted: Record<string, number>;
  moved: number;
  recomputed: number;
}

const LOOK_MS = 50;
/** Streams of one instance that move at one time: each takes of what the others decode with. */
const MOVES_AT_ONCE = 4;
const MAX_DRAINS = 1024;

export class Mover {
  readonly #options: MoverOptions;
  readonly #drains = new Set<Drain>();
  #cancelTimer: Cancel | null = null;
  #closed = false;

  constructor(options: MoverOptions) {
    this.#options = options;
  }

  /** An instance began to drain. */
  wake(): void {
    if (this.#cancelTimer === null && !this.#closed) this.#look();
  }

  /**
   * Places nothing new there and moves what is there, until nothing is left, the time is over, the order is taken back or the instance is
   * gone. @throws SluiceError queue_full, unavailable when the router ends meanwhile
   */
  async drain({ instance, why, deadlineMs }: DrainOrder): Promise<DrainOutcome> {
    if (this.#closed) throw ending();
    if (this.#drains.size >= MAX_DRAINS)
      throw new SluiceError('queue_full', `${MAX_DRAINS} orders to drain are under way already`, { retryAfterSeconds: 1 });
    instance.emptied = why;
    const startedAt = this.#options.clock.now();
    return new Promise((resolve, reject) => {
      const deadlineAt = startedAt + deadlineMs;
      this.#drains.add({ instance, startedAt, deadlineAt, resolve, reject, aborted: {}, moved: 0, recomputed: 0 });
      this.wake();
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

  #settle(): void {
    const now = this.#options.clock.now();
    const present = new Set(this.#options.instances());
    for (const drain of this.#drains) {
      const { instance, startedAt, deadlineAt, moved, recomputed, aborted } = drain;
      const { id, inFlight, emptied } = instance;
      if (inFlight > 0 && now < deadlineAt && emptied !== null && present.has(instance)) continue;
      this.#drains.delete(drain);
      drain.resolve({ instance: id, moved, recomputed, aborted, left: inFlight, ms: now - startedAt });
    }
  }
}

function ending(): SluiceError {
  return new SluiceError('unavailable', 'the router is shutting down, and moves nothing any more');
}

function whyEmptied({ emptied, draining, load }: Instance): string | null {
  if (emptied !== null) return emptied;
  if (load?.draining === true) return 'the instance ends';
  return draining ? 'the instance leaves the pool' : null;
}
