/**
 * The connections that a flight has to instances: one leg at a time, counted, paused while the client does not read; beside it the prefill
 * leg of a hand-off for which the decode instance waits itself.
 */
import type { Instance } from '../instances/instance.ts';
import type { Leg, ResponseSink } from '../upstream/index.ts';
import type { Message } from './dialects/index.ts';

export class Line {
  readonly #count: { legs: number };
  #leg: Leg | null = null;
  #beside: Leg | null = null;
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

  /** Opens the leg that another instance waits for. */
  openBeside(instance: Instance, { head, body }: Message, sink: ResponseSink): void {
    this.#count.legs += 1;
    this.#beside = instance.requests.pool.request(head, body, sink);
  }

  closeBeside(): void {
    if (!this.#beside) return;
    this.#count.legs -= 1;
    this.#beside.abort();
    this.#beside = null;
  }

  /** Gives legs that are not complete up. Idempotent. */
  close(): void {
    this.closeBeside();
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
