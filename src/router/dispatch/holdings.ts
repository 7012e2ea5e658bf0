/** What a flight holds of instances. Everything held is counted, so that leftovers can be seen, and given back once. */
import type { Clock } from '../../shared/index.ts';
import type { Instance, Reservation } from '../instances/instance.ts';

export class Holdings {
  readonly #clock: Clock;
  readonly #count: { reservations: number };
  readonly #held = new Map<Instance, Reservation>();

  constructor(clock: Clock, count: { reservations: number }) {
    this.#clock = clock;
    this.#count = count;
  }

  hold(instance: Instance, reservation: Reservation): void {
    instance.reserve(reservation);
    instance.breaker.entered(this.#clock.now());
    this.#held.set(instance, reservation);
    this.#count.reservations += 1;
  }

  /** Its prompt is prefilled; the stream goes on. */
  prefilled(instance: Instance): void {
    const reservation = this.#held.get(instance);
    if (!reservation) return;
    instance.prefilled(reservation.prefillTokens);
    this.#held.set(instance, { ...reservation, prefillTokens: 0 });
  }

  letGo(instance: Instance): void {
    const reservation = this.#held.get(instance);
    if (!reservation) return;
    this.#held.delete(instance);
    instance.release(reservation);
    instance.breaker.left();
    this.#count.reservations -= 1;
  }

  letAllGo(): void {
    for (const instance of this.#held.keys()) this.letGo(instance);
  }
}
