/** The log of one process: for a single machine, where nobody else needs to hear. Says and does what the one on NATS does (one contract holds for both). */
import type { Clock } from '../../shared/index.ts';
import { EventFault } from './fault.ts';
import { WiredLog } from './log.ts';
import type { EventBus, Health } from './port.ts';
import type { TellerLimits } from './teller.ts';
import type { Reader, Wire } from './wire.ts';

export interface MemoryEventBusOptions {
  readonly clock: Clock;
  readonly random?: () => number;
  readonly limits?: Partial<TellerLimits>;
}

const UP: Health = { state: 'up' };

export function memoryEventBus(options: MemoryEventBusOptions): EventBus {
  const { clock, random = Math.random, limits = {} } = options;
  const wire = new MemoryWire();
  return {
    log: new WiredLog(wire, { clock, random, limits }),
    health: UP,
    onHealth: () => () => undefined,
    ready: () => Promise.resolve(),
    close: async () => wire.close(),
  };
}

class MemoryWire implements Wire {
  readonly #readers = new Set<Reader>();
  readonly #beats = new Set<(instance: string, message: Uint8Array) => void>();
  readonly #asks = new Map<string, Set<() => void>>();
  readonly #changes = new Set<() => void>();
  #isUp = true;

  get isUp(): boolean {
    return this.#isUp;
  }

  onChange(listener: () => void): () => void {
    return addTo(this.#changes, listener);
  }

  append(instance: string, message: Uint8Array): Promise<void> {
    if (!this.#isUp) return Promise.reject(new EventFault('unavailable', 'the event log is closed'));
    for (const reader of this.#readers) reader.message(instance, message);
    return Promise.resolve();
  }

  read(reader: Reader): () => void {
    reader.anew();
    return addTo(this.#readers, reader);
  }

  beat(instance: string, message: Uint8Array): void {
    for (const listener of this.#beats) listener(instance, message);
  }

  onBeat(listener: (instance: string, message: Uint8Array) => void): () => void {
    return addTo(this.#beats, listener);
  }

  ask(instance: string): void {
    for (const listener of this.#asks.get(instance) ?? []) listener();
  }

  onAsk(instance: string, listener: () => void): () => void {
    const listeners = this.#asks.get(instance) ?? new Set();
    this.#asks.set(instance, listeners);
    const remove = addTo(listeners, listener);
    return () => {
      remove();
      if (listeners.size === 0) this.#asks.delete(instance);
    };
  }

  close(): void {
    this.#isUp = false;
    for (const listener of this.#changes) listener();
  }
}

function addTo<T>(set: Set<T>, value: T): () => void {
  set.add(value);
  return () => void set.delete(value);
}
