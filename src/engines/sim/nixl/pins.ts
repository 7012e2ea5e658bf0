/**
 * Finished prompts whose HBM waits to be read by a peer: the leases of vLLM's NixlConnector. A lease ends when a peer tells that it has
 * read, or by time; a peer that comes later may still read what is not overwritten yet.
 */
import type { Cancel, Clock } from '../../../shared/index.ts';

interface Pin {
  readonly free: () => void;
  cancel: Cancel;
}

export class Pins {
  readonly #clock: Clock;
  readonly #leaseMs: number;
  readonly #pins = new Map<string, Pin>();
  /** Leases that ended by time. */
  expired = 0;
  /** Peers that told of a read when the lease was over. */
  late = 0;
  /** Called when HBM became free. */
  onFreed: () => void = () => {};

  constructor(clock: Clock, leaseMs: number) {
    this.#clock = clock;
    this.#leaseMs = leaseMs;
  }

  get size(): number {
    return this.#pins.size;
  }

  /** @param free gives the HBM back; called once */
  hold(id: string, free: () => void): void {
    this.#end(id);
    this.#pins.set(id, { free, cancel: this.#timer(id) });
  }

  renew(id: string): void {
    const pin = this.#pins.get(id);
    if (!pin) return;
    pin.cancel();
    pin.cancel = this.#timer(id);
  }

  release(id: string): void {
    if (!this.#end(id)) this.late += 1;
  }

  clear(): void {
    for (const id of this.#pins.keys()) this.#end(id);
  }

  #timer(id: string): Cancel {
    return this.#clock.after(this.#leaseMs, () => {
      this.expired += 1;
      this.#end(id);
    });
  }

  #end(id: string): boolean {
    const pin = this.#pins.get(id);
    if (!pin) return false;
    this.#pins.delete(id);
    pin.cancel();
    pin.free();
    this.onFreed();
    return true;
  }
}
