/**
 * The connections that a flight has to instances, counted: a prefill leg, and the leg that the client's answer comes from, paused while the
 * client does not read. Both at a time only where the decode instance waits for the hand-off itself.
 */
import type { Instance } from '../instances/instance.ts';
import type { Leg, ResponseSink } from '../upstream/index.ts';
import type { Message } from './dialects/index.ts';

export class Line {
  readonly #count: { legs: number };
  #leg: Leg | null = null;
  #prefill: Leg | null = null;
  #paused = false;

  get paused(): boolean {
    return this.#paused;
  }

  constructor(count: { legs: number }) {
    this.#count = count;
  }

  /** Only when the one before is closed: two instances never decode one request. */
  open(instance: Instance, { head, body }: Message, sink: ResponseSink): void {
    this.#count.legs += 1;
    this.#leg = instance.requests.pool.request(head, body, sink);
  }

  openPrefill(instance: Instance, { head, body }: Message, sink: ResponseSink): void {
    this.#count.legs += 1;
    this.#prefill = instance.requests.pool.request(head, body, sink);
  }

  closePrefill(): void {
    if (!this.#prefill) return;
    this.#count.legs -= 1;
    this.#prefill.abort();
    this.#prefill = null;
  }

  /** Gives legs that are not complete up. Idempotent. */
  close(): void {
    this.closePrefill();
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
