/** The connection that a flight has to an instance at a time: one leg, counted, paused while the client does not read. */
import type { Instance } from '../instances/instance.ts';
import type { Leg, ResponseSink } from '../upstream/index.ts';
import type { Message } from './dialects/index.ts';

export class Line {
  readonly #count: { legs: number };
  #leg: Leg | null = null;
  #paused = false;

  get paused(): boolean {
    return this.#paused;
  }

  constructor(count: { legs: number }) {
    this.#count = count;
  }

  /** Only after `close`: two instances never work on one request. */
  open(instance: Instance, { head, body }: Message, sink: ResponseSink): void {
    this.#count.legs += 1;
    this.#leg = instance.requests.pool.request(head, body, sink);
  }

  /** Gives a leg that is not complete up. Idempotent. */
  close(): void {
    if (!this.#leg) return;
    this.#count.legs -= 1;
    this.#leg.abort();
    this.#leg = null;
  }

  pause(): void {
    this.#paused = true;
    this.#leg?.pause();
  }

  /** False when it was not paused. */
  resume(): boolean {
    if (!this.#paused) return false;
    this.#paused = false;
    this.#leg?.resume();
    return true;
  }
}
