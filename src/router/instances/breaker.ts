/** Takes an instance that fails again and again out of routing for a while, then lets one request try. Pure but for its state. */
const FAILURES_TO_OPEN = 3;
const FIRST_MS = 500;
const MAX_MS = 10_000;

export type BreakerState = 'closed' | 'open' | 'trying';

export class Breaker {
  #failures = 0;
  #openUntil = 0;
  #trying = false;
  #broken = false;

  /** The instance will never serve again in this life of it. */
  get broken(): boolean {
    return this.#broken;
  }

  /** Whether a request may go there now. */
  allows(now: number): boolean {
    if (this.#broken) return false;
    return this.#failures < FAILURES_TO_OPEN || (now >= this.#openUntil && !this.#trying);
  }

  state(now: number): BreakerState {
    if (this.#broken) return 'open';
    if (this.#failures < FAILURES_TO_OPEN) return 'closed';
    return now < this.#openUntil ? 'open' : 'trying';
  }

  /** A request goes there. Past the open time it is the one that tries. */
  entered(now: number): void {
    if (this.#failures >= FAILURES_TO_OPEN && now >= this.#openUntil) this.#trying = true;
  }

  succeeded(): void {
    this.#failures = 0;
    this.#trying = false;
  }

  failed(now: number): void {
    this.#trying = false;
    this.#failures += 1;
    const beyond = this.#failures - FAILURES_TO_OPEN;
    if (beyond >= 0) this.#openUntil = now + Math.min(MAX_MS, FIRST_MS * 2 ** beyond);
  }

  /** Its engine said that it is dead. Another life of the instance has a breaker of its own. */
  broke(): void {
    this.#broken = true;
  }

  /** The request ended without saying anything of the instance's health. */
  left(): void {
    this.#trying = false;
  }
}
