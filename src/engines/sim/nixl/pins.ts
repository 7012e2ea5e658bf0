/**
 * Finished prompts whose HBM waits to be read by a peer: the leases of vLLM's NixlConnector, and what is in SGLang's rooms. A lease ends when a peer tells that it has
 * read, or by time; a peer that comes later may still read what is not overwritten yet.
 */
import type { Cancel, Clock } from '../../../shared/index.ts';

export type PinEnd = 'peer' | 'time' | 'owner';

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
  /** Called when one is over: read by a peer, late, or given up here. */
  onEnded: (id: string, by: PinEnd) => void = () => {};

  constructor(clock: Clock, leaseMs: number) {
    this.#clock = clock;
    this.#leaseMs = leaseMs;
  }

  get size(): number {
    return this.#pins.size;
  }

  /** @param free gives the HBM back; called once */
  hold(id: string, free: () => void): void {
    this.#end(id, 'owner');
    this.#pins.set(id, { free, cancel: this.#timer(id) });
  }

  renew(id: string): void {
    const pin = this.#pins.get(id);
    if (!pin) return;
    pin.cancel();
    pin.cancel = this.#timer(id);
  }

  release(id: string): void {
    if (!this.#end(id, 'peer')) this.late += 1;
  }

  /** Nobody is going to read it. Idempotent. */
  drop(id: string): void {
    this.#end(id, 'owner');
  }

  clear(): void {
    for (const id of this.#pins.keys()) this.#end(id, 'owner');
  }

  #timer(id: string): Cancel {
    return this.#clock.after(this.#leaseMs, () => {
      this.expired += 1;
      this.#end(id, 'time');
    });
  }

  #end(id: string, by: PinEnd): boolean {
    const pin = this.#pins.get(id);
    if (!pin) return false;
    this.#pins.delete(id);
    pin.cancel();
    pin.free();
    this.onFreed();
    this.onEnded(id, by);
    return true;
  }
}
