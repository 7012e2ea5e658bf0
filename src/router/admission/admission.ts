/**
 * Admission: how many requests are served at one time, and who waits. Bounded in requests and in time. Waiting requests of different
 * tenants take turns, so that one tenant's burst does not starve the others.
 *
 * Invariant: every `enter` leads to exactly one of `admitted`, `refused` or, by `leave` of a waiting one, nothing.
 */
import { type Cancel, type Clock, SluiceError } from '../../shared/index.ts';

export interface AdmissionLimits {
  readonly inFlight: number;
  readonly queue: number;
  readonly queueTimeoutMs: number;
}

export interface Applicant {
  readonly tenant: string;
  admitted(): void;
  refused(error: SluiceError): void;
}

interface Waiting {
  readonly applicant: Applicant;
  readonly cancelTimer: Cancel;
}

export class Admission {
  readonly #limits: AdmissionLimits;
  readonly #clock: Clock;
  /** Tenants that wait, in turn; each with its own first come, first served. */
  readonly #queues = new Map<string, Waiting[]>();
  #inFlight = 0;
  #queued = 0;
  #endedPerSecond = 0;
  #lastEndAt = 0;

  constructor(limits: AdmissionLimits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get queued(): number {
    return this.#queued;
  }

  enter(applicant: Applicant): void {
    if (this.#inFlight < this.#limits.inFlight) {
      this.#inFlight += 1;
      applicant.admitted();
    } else if (this.#queued >= this.#limits.queue) {
      applicant.refused(this.#full());
    } else {
      this.#wait(applicant);
    }
  }

  /** The request is over: an admitted one makes room, a waiting one gives up its place. Call once. */
  leave(applicant: Applicant): void {
    const waiting = this.#take(applicant);
    if (waiting) return waiting.cancelTimer();
    this.#inFlight -= 1;
    this.#measure();
    this.#admitNext();
  }

  #wait(applicant: Applicant): void {
    const { queueTimeoutMs } = this.#limits;
    const cancelTimer = this.#clock.after(queueTimeoutMs, () => {
      this.#take(applicant);
      applicant.refused(
        new SluiceError('unavailable', `no room within ${queueTimeoutMs} ms in the queue`, { retryAfterSeconds: this.#retryAfter() }),
      );
    });
    const queue = this.#queues.get(applicant.tenant) ?? [];
    queue.push({ applicant, cancelTimer });
    this.#queues.set(applicant.tenant, queue);
    this.#queued += 1;
  }

  #admitNext(): void {
    for (const [tenant, queue] of this.#queues) {
      if (this.#inFlight >= this.#limits.inFlight) return;
      const next = queue.shift();
      this.#queues.delete(tenant);
      if (!next) continue;
      if (queue.length > 0) this.#queues.set(tenant, queue); // to the end of the turn
      this.#queued -= 1;
      this.#inFlight += 1;
      next.cancelTimer();
      next.applicant.admitted();
    }
  }

  #take(applicant: Applicant): Waiting | null {
    const queue = this.#queues.get(applicant.tenant);
    const at = queue?.findIndex((waiting) => waiting.applicant === applicant) ?? -1;
    if (!queue || at < 0) return null;
    const [waiting] = queue.splice(at, 1);
    if (queue.length === 0) this.#queues.delete(applicant.tenant);
    this.#queued -= 1;
    return waiting ?? null;
  }

  #full(): SluiceError {
    const { inFlight, queue } = this.#limits;
    return new SluiceError('queue_full', `${inFlight} requests are served and ${queue} wait already`, {
      retryAfterSeconds: this.#retryAfter(),
    });
  }

  #measure(): void {
    const now = this.#clock.now();
    const gap = Math.max(1e-3, now - this.#lastEndAt);
    this.#lastEndAt = now;
    this.#endedPerSecond += (Math.min(1e6, 1000 / gap) - this.#endedPerSecond) * 0.05;
  }

  /** Whole seconds until the queue of now has passed at the present pace; 1 to 60. */
  #retryAfter(): number {
    const seconds = this.#endedPerSecond > 0 ? (this.#queued + 1) / this.#endedPerSecond : 1;
    return Math.min(60, Math.max(1, Math.ceil(seconds)));
  }
}
