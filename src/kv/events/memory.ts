/** Log and queue of one process: for a single machine, where nobody else needs to hear. Says and does what those on NATS do (one contract holds for both). */
import type { Clock } from '../../shared/index.ts';
import { againMs, checkCommand, type Hand, outcomeOf, QUEUE_TERMS, type QueueTerms, RecentIds } from './command.ts';
import { EventFault } from './fault.ts';
import { WiredLog } from './log.ts';
import type { Command, EventBus, Health, Worker, WorkQueue } from './port.ts';
import type { TellerLimits } from './teller.ts';
import type { Reader, Wire } from './wire.ts';

export interface MemoryEventBusOptions {
  readonly clock: Clock;
  readonly random?: () => number;
  readonly limits?: Partial<TellerLimits>;
  readonly queue?: Partial<QueueTerms>;
}

const UP: Health = { state: 'up' };

export function memoryEventBus(options: MemoryEventBusOptions): EventBus {
  const { clock, random = Math.random, limits = {}, queue } = options;
  const wire = new MemoryWire();
  const work = new MemoryQueue({ ...QUEUE_TERMS, ...queue }, clock);
  return {
    log: new WiredLog(wire, { clock, random, limits }),
    queue: work,
    health: UP,
    onHealth: () => () => undefined,
    ready: () => Promise.resolve(),
    close: async () => {
      wire.close();
      work.close();
    },
  };
}

class MemoryWire implements Wire {
  readonly #readers = new Set<Reader>();
  readonly #beats = new Set<(instance: string, message: Uint8Array) => void>();
  readonly #asks = new Map<string, Set<() => void>>();
  readonly #changes = new Set<() => void>();
  #isUp = true;

  get isUp(): boolean {
    return this.#isUp;
  }

  onChange(listener: () => void): () => void {
    return addTo(this.#changes, listener);
  }

  append(instance: string, message: Uint8Array): Promise<void> {
    if (!this.#isUp) return Promise.reject(new EventFault('unavailable', 'the event log is closed'));
    for (const reader of this.#readers) reader.message(instance, message);
    return Promise.resolve();
  }

  read(reader: Reader): () => void {
    reader.anew();
    return addTo(this.#readers, reader);
  }

  beat(instance: string, message: Uint8Array): void {
    for (const listener of this.#beats) listener(instance, message);
  }

  onBeat(listener: (instance: string, message: Uint8Array) => void): () => void {
    return addTo(this.#beats, listener);
  }

  ask(instance: string): void {
    for (const listener of this.#asks.get(instance) ?? []) listener();
  }

  onAsk(instance: string, listener: () => void): () => void {
    const listeners = this.#asks.get(instance) ?? new Set();
    this.#asks.set(instance, listeners);
    const remove = addTo(listeners, listener);
    return () => {
      remove();
      if (listeners.size === 0) this.#asks.delete(instance);
    };
  }

  close(): void {
    this.#isUp = false;
    for (const listener of this.#changes) listener();
  }
}

function addTo<T>(set: Set<T>, value: T): () => void {
  set.add(value);
  return () => void set.delete(value);
}

interface Waiting {
  readonly command: Command;
  readonly dropAt: number;
  attempt: number;
}

interface BusyHand extends Hand {
  busy: number;
}

class MemoryQueue implements WorkQueue {
  readonly #terms: QueueTerms;
  readonly #clock: Clock;
  readonly #waiting = new Map<string, Waiting[]>();
  readonly #hands = new Map<string, Set<BusyHand>>();
  readonly #known = new Map<string, number>();
  #held = 0;
  #closed = false;

  constructor(terms: QueueTerms, clock: Clock) {
    this.#terms = terms;
    this.#clock = clock;
  }

  async add(command: Command): Promise<'added' | 'known'> {
    checkCommand(command);
    if (this.#closed) throw new EventFault('unavailable', 'the queue is closed');
    const now = this.#clock.now();
    this.#forgetOld(now);
    if (this.#known.has(command.id)) return 'known';
    if (this.#held >= this.#terms.maxCommands)
      throw new EventFault('full', `${this.#terms.maxCommands} commands wait already (maxCommands): try again later`);
    this.#known.set(command.id, now + this.#terms.rememberMs);
    this.#held += 1;
    this.#put({ command, dropAt: now + this.#terms.rememberMs, attempt: 0 });
    this.#hand(command.target);
    return 'added';
  }

  work(target: string, handler: Hand['handler']): Worker {
    const hand: BusyHand = { handler, done: new RecentIds(this.#terms.maxCommands), busy: 0 };
    const hands = this.#hands.get(target) ?? new Set();
    this.#hands.set(target, hands.add(hand));
    this.#hand(target);
    return {
      stop: () => {
        hands.delete(hand);
        if (hands.size === 0) this.#hands.delete(target);
      },
    };
  }

  close(): void {
    this.#closed = true;
    this.#hands.clear();
    this.#waiting.clear();
  }

  #forgetOld(now: number): void {
    for (const [id, until] of this.#known) {
      if (until > now) break;
      this.#known.delete(id);
    }
    for (const [target, waiting] of this.#waiting) {
      const left = waiting.filter(({ dropAt }) => dropAt > now);
      this.#held -= waiting.length - left.length;
      if (left.length > 0) this.#waiting.set(target, left);
      else this.#waiting.delete(target);
    }
  }

  #put(waiting: Waiting): void {
    const { target } = waiting.command;
    this.#waiting.set(target, [...(this.#waiting.get(target) ?? []), waiting]);
  }

  #hand(target: string): void {
    for (const hand of this.#hands.get(target) ?? []) {
      while (hand.busy < this.#terms.atOnce) {
        const next = this.#waiting.get(target)?.shift();
        if (next === undefined) return;
        void this.#carryOut(hand, next);
      }
    }
  }

  async #carryOut(hand: BusyHand, waiting: Waiting): Promise<void> {
    waiting.attempt += 1;
    hand.busy += 1;
    const outcome = await outcomeOf(hand, { ...waiting.command, attempt: waiting.attempt });
    hand.busy -= 1;
    if (this.#closed) return;
    const { target } = waiting.command;
    if (outcome === 'again' && waiting.attempt < this.#terms.maxDeliveries) {
      this.#clock.after(againMs(waiting.attempt), () => {
        if (this.#closed) return;
        this.#put(waiting);
        this.#hand(target);
      });
    } else {
      this.#held -= 1;
    }
    this.#hand(target);
  }
}
