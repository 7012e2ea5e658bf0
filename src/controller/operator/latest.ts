/** What a watch knows, and on top of it what we wrote ourselves and the watch has not shown yet: nothing is written twice. */
import type { KubeObject, StoreView } from '../../platform/kubernetes/index.ts';
import type { Clock } from '../../shared/index.ts';
import { keepScaler } from './scale.ts';

interface Written<T> {
  readonly object: T;
  /** Versions that the watch may show while it has not got to `object`; '' = no object. */
  readonly before: ReadonlySet<string>;
  readonly untilMs: number;
}

/** A watch that lags more than that has lost more than our write. */
const BELIEVED_MS = 10_000;
const MAX_VERSIONS = 64;

export class Latest<T extends KubeObject> {
  readonly #store: StoreView<T>;
  readonly #clock: Clock;
  readonly #written = new Map<string, Written<T>>();

  constructor(store: StoreView<T>, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  get(key: string): T | undefined {
    const stored = this.#store.get(key);
    const written = this.#written.get(key);
    if (written === undefined) return stored;
    if (written.before.has(version(stored)) && this.#clock.now() < written.untilMs) return written.object;
    this.#written.delete(key);
    return stored;
  }

  put(key: string, object: T): void {
    const stored = this.#store.get(key);
    if (version(stored) === version(object)) return;
    const earlier = this.#written.get(key);
    const known = earlier === undefined ? [] : [...earlier.before, version(earlier.object)];
    const before = new Set([...known.slice(-MAX_VERSIONS), version(stored)]);
    this.#written.set(key, { object: keepScaler(object), before, untilMs: this.#clock.now() + BELIEVED_MS });
  }

  forget(key: string): void {
    this.#written.delete(key);
  }
}

function version(object: KubeObject | undefined): string {
  return object?.metadata.resourceVersion ?? '';
}
