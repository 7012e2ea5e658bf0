/**
 * Empties instances of the streams that they decode: those that drain (their own word, or the controller's), and those that somebody
 * ordered to be drained (`sluice kv drain`). Level-triggered: it looks again until nothing is left, so that what could not move yet moves
 * later.
 */
import type { Delivery, MoveOrder, MoveQueue } from '../../../kv/index.ts';
import { type Cancel, type Clock, SluiceError } from '../../../shared/index.ts';
import type { Instance } from '../../instances/instance.ts';
import type { MoveRecord } from '../../record/index.ts';
import type { Flight } from '../flight.ts';

export interface MoverOptions {
  readonly clock: Clock;
  readonly queue: MoveQueue;
  readonly instances: () => readonly Instance[];
  readonly flights: () => Iterable<Flight>;
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
  readonly order: MoveOrder;
  readonly startedAt: number;
  readonly deadlineAt: number;
  readonly ack: () => void;
  readonly aborted: Record<string, number>;
  moved: number;
  recomputed: number;
}

const LOOK_MS = 50;
/** Streams of one instance that move at one time: each takes of what the others decode with. */
const MOVES_AT_ONCE = 4;

export class Mover {
  readonly #options: MoverOptions;
  readonly #drains = new Map<string, Drain>();
  readonly #waiting = new Map<string, (outcome: DrainOutcome) => void>();
  readonly #stopConsuming: Cancel;
  #cancelTimer: Cancel | null = null;
  #closed = false;

  constructor(options: MoverOptions) {
    this.#options = options;
    this.#stopConsuming = options.queue.consume((delivery) => this.#take(delivery));
  }

  /** An instance began to drain. */
  wake(): void {
    if (this.#cancelTimer === null && !this.#closed) this.#look();
  }

  /** Orders it and waits for the end: nothing left, or the deadline. @throws SluiceError queue_full */
  async drain(order: MoveOrder): Promise<DrainOutcome> {
    const done = new Promise<DrainOutcome>((resolve) => this.#waiting.set(order.id, resolve));
    const outcome = await this.#options.queue.submit(order);
    if (outcome === 'queued') return done;
    this.#waiting.delete(order.id);
    const why = outcome === 'full' ? 'too many instances are being drained' : `order ${order.id} was given already`;
    throw new SluiceError('queue_full', why, { retryAfterSeconds: 1 });
  }

  moveOver({ from, way, state, reason }: MoveRecord): void {
    for (const drain of this.#drains.values()) {
      if (drain.order.instance !== from) continue;
      if (way === 'recompute') drain.recomputed += 1;
      else if (state === 'released') drain.moved += 1;
      else drain.aborted[reason ?? 'cancelled'] = (drain.aborted[reason ?? 'cancelled'] ?? 0) + 1;
    }
  }

  close(): void {
    this.#closed = true;
    this.#stopConsuming();
    this.#cancelTimer?.();
  }

  #take({ order, ack, nak }: Delivery): void {
    const { clock, instances } = this.#options;
    const instance = instances().find(({ id }) => id === order.instance);
    // Another router may know it; here it may have gone since somebody asked.
    if (!instance && !this.#waiting.has(order.id)) return nak();
    if (instance) instance.emptied = order.why;
    const startedAt = clock.now();
    this.#drains.set(order.id, { order, ack, startedAt, deadlineAt: startedAt + order.deadlineMs, aborted: {}, moved: 0, recomputed: 0 });
    this.wake();
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
    for (const drain of this.#drains.values()) if (this.#left(drain) === 0 || now >= drain.deadlineAt) this.#done(drain);
  }

  #left({ order }: Drain): number {
    return this.#options.instances().find(({ id }) => id === order.instance)?.inFlight ?? 0;
  }

  #done(drain: Drain): void {
    const { order, startedAt, moved, recomputed, aborted, ack } = drain;
    this.#drains.delete(order.id);
    ack();
    const ms = this.#options.clock.now() - startedAt;
    this.#waiting.get(order.id)?.({ instance: order.instance, moved, recomputed, aborted, left: this.#left(drain), ms });
    this.#waiting.delete(order.id);
  }
}

function whyEmptied({ emptied, draining, load }: Instance): string | null {
  if (emptied !== null) return emptied;
  if (load?.draining === true) return 'the instance ends';
  return draining ? 'the instance leaves the pool' : null;
}
