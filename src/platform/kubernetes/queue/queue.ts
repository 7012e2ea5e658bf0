/**
 * Work by key. One key never runs twice at the same time; a key that is added while it runs runs again afterwards; keys that are added
 * often run once. What fails is tried again after a time that doubles. An `add` does not shorten that time, or an object whose failing
 * work changes the object itself would be worked on without a pause.
 */
import { type BackoffPolicy, backoffMs, type Cancel, type Clock, systemClock } from '../../../shared/index.ts';
import { type Bucket, fullBucket, type Pace, takeToken } from './pace.ts';

/** What a run that did not fail wants: nothing, or another look after a while. */
export type RunOutcome = { readonly kind: 'done' } | { readonly kind: 'again'; readonly afterMs: number };

export interface QueueOptions {
  /** Works on the newest state of `key`. The signal falls when the queue must end now. */
  readonly run: (key: string, signal: AbortSignal) => Promise<RunOutcome>;
  readonly onFailure: (key: string, error: unknown, retryMs: number) => void;
  /** Keys worked on at the same time. */
  readonly workers: number;
  readonly backoff?: BackoffPolicy;
  /** Bounds the starts of all keys together. */
  readonly pace?: Pace;
  /** Keys known at the same time, running and waiting ones included. */
  readonly maxKeys?: number;
  readonly clock?: Clock;
  /** In [0, 1). */
  readonly random?: () => number;
}

interface Entry {
  state: 'ready' | 'running' | 'waiting' | 'backing-off';
  /** Added while it ran or backed off: run again. */
  dirty: boolean;
  /** Monotonic ms of the earliest run that was asked for by time; Infinity when none was. */
  dueMs: number;
  failures: number;
  cancel: Cancel;
}

const BACKOFF: BackoffPolicy = { firstMs: 100, maxMs: 30_000, factor: 2 };
const PACE: Pace = { perSecond: 50, burst: 200 };
const MAX_KEYS = 100_000;

export class WorkQueue {
  readonly #options: QueueOptions;
  readonly #clock: Clock;
  readonly #pace: Pace;
  readonly #entries = new Map<string, Entry>();
  /** In the order in which they are due. */
  readonly #ready = new Set<string>();
  readonly #running = new Set<Promise<void>>();
  readonly #abort = new AbortController();
  #bucket: Bucket;
  #cancelPace: Cancel | null = null;
  #stopping = false;

  constructor(options: QueueOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#pace = options.pace ?? PACE;
    this.#bucket = fullBucket(this.#pace, this.#clock.now());
  }

  /** False when the key was not taken: the queue is full or ends. */
  add(key: string): boolean {
    const entry = this.#take(key);
    if (entry === null) return false;
    switch (entry.state) {
      case 'ready':
        break;
      case 'running':
      case 'backing-off':
        entry.dirty = true;
        break;
      case 'waiting':
        this.#makeReady(key, entry);
        break;
    }
    this.#pump();
    return true;
  }

  /** Runs `key` after `ms` unless it runs before. Of several times the earliest counts. False when the key was not taken. */
  addAfter(key: string, ms: number): boolean {
    const entry = this.#take(key);
    if (entry === null) return false;
    const dueMs = this.#clock.now() + Math.max(0, ms);
    if (entry.state === 'ready' || dueMs >= entry.dueMs) return true;
    entry.dueMs = dueMs;
    if (entry.state === 'waiting') this.#wait(key, entry, 'waiting', dueMs);
    return true;
  }

  /** How many keys are where, for metrics. */
  depth(): { readonly ready: number; readonly running: number; readonly waiting: number } {
    const [ready, running] = [this.#ready.size, this.#running.size];
    return { ready, running, waiting: this.#entries.size - ready - running };
  }

  /** Starts nothing more and resolves when what runs has ended; after `graceMs` its signal falls. What waits is forgotten. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    this.#cancelPace?.();
    for (const entry of this.#entries.values()) entry.cancel();
    this.#ready.clear();
    const cancel = this.#clock.after(graceMs, () => this.#abort.abort());
    await Promise.all(this.#running);
    cancel();
    this.#entries.clear();
  }

  #take(key: string): Entry | null {
    if (this.#stopping) return null;
    const known = this.#entries.get(key);
    if (known) return known;
    if (this.#entries.size >= (this.#options.maxKeys ?? MAX_KEYS)) return null;
    const entry: Entry = { state: 'waiting', dirty: false, dueMs: Number.POSITIVE_INFINITY, failures: 0, cancel: () => {} };
    this.#entries.set(key, entry);
    return entry;
  }

  #makeReady(key: string, entry: Entry): void {
    entry.cancel();
    entry.state = 'ready';
    entry.dueMs = Number.POSITIVE_INFINITY;
    this.#ready.add(key);
  }

  #wait(key: string, entry: Entry, state: 'waiting' | 'backing-off', untilMs: number): void {
    entry.cancel();
    entry.state = state;
    entry.cancel = this.#clock.after(untilMs - this.#clock.now(), () => {
      this.#makeReady(key, entry);
      this.#pump();
    });
  }

  #pump(): void {
    while (!this.#stopping && this.#running.size < this.#options.workers) {
      const [key] = this.#ready;
      const entry = key === undefined ? undefined : this.#entries.get(key);
      if (key === undefined || entry === undefined) return;
      const { bucket, waitMs } = takeToken(this.#pace, this.#bucket, this.#clock.now());
      this.#bucket = bucket;
      if (waitMs > 0) {
        this.#cancelPace?.();
        this.#cancelPace = this.#clock.after(waitMs, () => this.#pump());
        return;
      }
      this.#ready.delete(key);
      this.#start(key, entry);
    }
  }

  #start(key: string, entry: Entry): void {
    entry.state = 'running';
    entry.dirty = false;
    const work = this.#work(key, entry).then(() => {
      this.#running.delete(work);
      this.#pump();
    });
    this.#running.add(work);
  }

  async #work(key: string, entry: Entry): Promise<void> {
    try {
      const outcome = await this.#options.run(key, this.#abort.signal);
      if (!this.#stopping) this.#settle(key, entry, outcome);
    } catch (error) {
      const retryMs = backoffMs(this.#options.backoff ?? BACKOFF, entry.failures, (this.#options.random ?? Math.random)());
      entry.failures += 1;
      if (!this.#stopping) this.#wait(key, entry, 'backing-off', this.#clock.now() + retryMs);
      this.#options.onFailure(key, error, retryMs);
    }
  }

  #settle(key: string, entry: Entry, outcome: RunOutcome): void {
    entry.failures = 0;
    if (outcome.kind === 'again') entry.dueMs = Math.min(entry.dueMs, this.#clock.now() + Math.max(0, outcome.afterMs));
    if (entry.dirty) this.#makeReady(key, entry);
    else if (entry.dueMs === Number.POSITIVE_INFINITY) this.#entries.delete(key);
    else this.#wait(key, entry, 'waiting', entry.dueMs);
  }
}
