/**
 * What we wrote and the watch does not show yet: without it the next look would miss a pod that was just made, and make it again.
 * A write is forgotten when the watch shows something as new, or another object of that name, or after a while.
 */
import type { Clock } from '../../../shared/index.ts';
import type { Pod } from '../builtin.ts';
import { objectKey } from '../object.ts';
import type { StoreView } from '../watch/store.ts';

interface Written {
  readonly pod: Pod;
  /** It was told to go. */
  readonly going: boolean;
  /** The watch showed it when it was written. */
  readonly shown: boolean;
  readonly untilMs: number;
}

/** A watch that lags longer than that is broken, and what it says last counts. */
const LONGEST_LAG_MS = 30_000;

export class PendingWrites {
  readonly #store: StoreView<Pod>;
  readonly #clock: Clock;
  readonly #written = new Map<string, Written>();

  constructor(store: StoreView<Pod>, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  wrote(pod: Pod): void {
    this.#put(pod, false);
  }

  deleted(pod: Pod): void {
    const deletionTimestamp = pod.metadata.deletionTimestamp ?? new Date(this.#clock.wall()).toISOString();
    this.#put({ ...pod, metadata: { ...pod.metadata, deletionTimestamp } }, true);
  }

  /** The newest state of the pod `key` that is known. */
  get(key: string): Pod | undefined {
    const shown = this.#store.get(key);
    const written = this.#written.get(key);
    if (written === undefined) return shown;
    if (this.#clock.now() < written.untilMs && !isCaughtUp(written, shown)) return written.pod;
    this.#written.delete(key);
    return shown;
  }

  /** To be called with every key that the watch tells: a pod that came and went between two looks is not pending any more. */
  told(key: string): void {
    const written = this.#written.get(key);
    const shown = this.#store.get(key);
    if (written !== undefined && (shown === undefined || isCaughtUp(written, shown))) this.#written.delete(key);
  }

  #put(pod: Pod, going: boolean): void {
    const key = objectKey(pod.metadata);
    this.#sweep();
    const shown = this.#store.get(key) !== undefined;
    this.#written.set(key, { pod, going, shown, untilMs: this.#clock.now() + LONGEST_LAG_MS });
  }

  #sweep(): void {
    const nowMs = this.#clock.now();
    for (const [key, { untilMs }] of this.#written) if (untilMs <= nowMs) this.#written.delete(key);
  }
}

function isCaughtUp({ pod, going, shown: wasShown }: Written, shown: Pod | undefined): boolean {
  // One that the watch never showed is still to come; one that it did has gone.
  if (shown === undefined) return wasShown;
  if (shown.metadata.uid === pod.metadata.uid && going) return shown.metadata.deletionTimestamp !== undefined;
  return isNewer(shown, pod);
}

/** Versions of one resource are whole numbers that grow: the API conventions say so since Kubernetes 1.35, and it has always been so. */
function isNewer(shown: Pod, written: Pod): boolean {
  const [a, b] = [Number(shown.metadata.resourceVersion), Number(written.metadata.resourceVersion)];
  return Number.isFinite(a) && Number.isFinite(b) ? a >= b : true;
}
