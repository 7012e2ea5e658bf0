/** `MoveQueue` within one process. */
import type { Cancel, Clock } from '../../shared/index.ts';
import type { Delivery, MoveOrder, MoveQueue, SubmitOutcome } from './queue.ts';

export interface MemoryMoveQueueOptions {
  readonly clock: Clock;
  /** Orders that wait or are being done; more are refused. Default 1024. */
  readonly capacity?: number;
  /** Milliseconds until an order that nobody settled is delivered again. Default 60,000. */
  readonly ackMs?: number;
  /** Deliveries of one order; then it is dropped. Default 5. */
  readonly maxAttempts?: number;
}

interface Entry {
  readonly order: MoveOrder;
  attempt: number;
  taken: boolean;
  cancelTimer: Cancel;
}

const NAK_MS = 100;
/** Ids remembered after their order is done. */
const IDS_KEPT = 4096;

export function memoryMoveQueue(options: MemoryMoveQueueOptions): MoveQueue {
  return new MemoryMoveQueue(options);
}

class MemoryMoveQueue implements MoveQueue {
  readonly #clock: Clock;
  readonly #capacity: number;
  readonly #ackMs: number;
  readonly #maxAttempts: number;
  readonly #entries = new Map<string, Entry>();
  readonly #seen = new Set<string>();
  readonly #consumers: ((delivery: Delivery) => void)[] = [];

  constructor({ clock, capacity = 1024, ackMs = 60_000, maxAttempts = 5 }: MemoryMoveQueueOptions) {
    this.#clock = clock;
    this.#capacity = capacity;
    this.#ackMs = ackMs;
    this.#maxAttempts = maxAttempts;
  }

  get pending(): number {
    return this.#entries.size;
  }

  async submit(order: MoveOrder): Promise<SubmitOutcome> {
    if (this.#seen.has(order.id)) return 'duplicate';
    if (this.#entries.size >= this.#capacity) return 'full';
    this.#seen.add(order.id);
    const [oldest] = this.#seen;
    if (this.#seen.size > IDS_KEPT && oldest !== undefined) this.#seen.delete(oldest);
    const entry = { order, attempt: 0, taken: false, cancelTimer: () => undefined };
    this.#entries.set(order.id, entry);
    this.#deliver(entry);
    return 'queued';
  }

  consume(take: (delivery: Delivery) => void): Cancel {
    this.#consumers.push(take);
    for (const entry of this.#entries.values()) if (!entry.taken) this.#deliver(entry);
    return () => {
      const at = this.#consumers.indexOf(take);
      if (at >= 0) this.#consumers.splice(at, 1);
    };
  }

  #deliver(entry: Entry): void {
    // In turn, as a work queue does.
    const take = this.#consumers.shift();
    if (!take) return;
    this.#consumers.push(take);
    entry.taken = true;
    entry.attempt += 1;
    const { attempt, order } = entry;
    const settle = (then: () => void) => {
      if (this.#entries.get(order.id) !== entry || entry.attempt !== attempt) return;
      entry.cancelTimer();
      then();
    };
    entry.cancelTimer = this.#clock.after(this.#ackMs, () => this.#again(entry, 0));
    take({ order, attempt, ack: () => settle(() => this.#entries.delete(order.id)), nak: () => settle(() => this.#again(entry, NAK_MS)) });
  }

  #again(entry: Entry, ms: number): void {
    entry.taken = false;
    if (entry.attempt >= this.#maxAttempts) {
      this.#entries.delete(entry.order.id);
      return;
    }
    entry.cancelTimer = this.#clock.after(ms, () => this.#deliver(entry));
  }
}
