/** What a command is, and how a worker remembers those that it has done. */
import { checkName } from '../directory/shared/bounds.ts';
import type { Command, Delivery, WorkOutcome } from './port.ts';

export const MAX_BODY_BYTES = 64 * 1024;

/** @throws RangeError naming field and value */
export function checkCommand({ id, target, body }: Command): void {
  checkName('id', id);
  checkName('target', target);
  const bytes = Buffer.byteLength(body);
  if (bytes > MAX_BODY_BYTES) throw new RangeError(`body: expected at most ${MAX_BODY_BYTES} bytes, got ${bytes}`);
}

export interface QueueTerms {
  /** Commands that wait or are under way; default 4096. */
  readonly maxCommands: number;
  /** Of one worker; default 16. */
  readonly atOnce: number;
  /** Milliseconds after which a command whose worker says nothing is delivered again; default 10 s. */
  readonly ackMs: number;
  /** Times that one command is delivered; then it is dropped. Default 8. */
  readonly maxDeliveries: number;
  /** Milliseconds for which ids are known, and after which a command that nobody took is dropped; default 10 min. */
  readonly rememberMs: number;
}

export const QUEUE_TERMS: QueueTerms = { maxCommands: 4_096, atOnce: 16, ackMs: 10_000, maxDeliveries: 8, rememberMs: 600_000 };

/** The last few thousand ids of something, oldest forgotten first. */
export class RecentIds {
  readonly #ids = new Set<string>();
  readonly #most: number;

  constructor(most: number) {
    this.#most = most;
  }

  has(id: string): boolean {
    return this.#ids.has(id);
  }

  add(id: string): void {
    this.#ids.add(id);
    if (this.#ids.size <= this.#most) return;
    const [oldest] = this.#ids;
    if (oldest !== undefined) this.#ids.delete(oldest);
  }
}

/** Who carries out commands. */
export interface Hand {
  readonly handler: (delivery: Delivery) => Promise<WorkOutcome>;
  readonly done: RecentIds;
}

/** How long a command that is to come again waits, after so many times. */
export function againMs(attempt: number): number {
  return Math.min(5_000, 100 * 2 ** (attempt - 1));
}

/** A worker that threw is asked again; what was done already is not done again. */
export async function outcomeOf(hand: Hand, delivery: Delivery): Promise<WorkOutcome> {
  if (hand.done.has(delivery.id)) return 'done';
  try {
    const outcome = await hand.handler(delivery);
    if (outcome === 'done') hand.done.add(delivery.id);
    return outcome;
  } catch {
    return 'again';
  }
}
