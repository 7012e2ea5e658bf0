/**
 * Keeps a store equal to what the API server has of one resource: list, then watch from there, and start over from wherever it broke.
 * It ends only when it is stopped. A connection that says nothing for too long counts as broken; the API server sends bookmarks about
 * once a minute. A resourceVersion that the API server has forgotten, or a line that cannot be read, means a new list.
 */
import { type BackoffPolicy, backoffMs, type Clock, sleep, systemClock } from '../../../shared/index.ts';
import type { KubernetesClient, Scope } from '../client.ts';
import { failureOf, KubernetesError, transportFailure } from '../failure.ts';
import type { KubeObject, Resource } from '../object.ts';
import { readEvent, type WatchEvent } from './event.ts';
import { readLines } from './lines.ts';
import { ObjectStore, StoreOverflow, type StoreView } from './store.ts';

/** What the log and the metrics are told. */
export type ReflectorNotice =
  | { readonly kind: 'listed'; readonly objects: number; readonly resourceVersion: string }
  | { readonly kind: 'watching'; readonly resourceVersion: string }
  /** The watch ended as it should; it goes on from the last version seen. */
  | { readonly kind: 'ended' }
  | { readonly kind: 'broken'; readonly why: string; readonly next: 'list' | 'watch'; readonly waitMs: number };

export interface ReflectorOptions<T extends KubeObject> {
  readonly client: KubernetesClient;
  readonly resource: Resource<T>;
  readonly scope?: Scope;
  readonly clock?: Clock;
  /** In [0, 1). */
  readonly random?: () => number;
  readonly backoff?: BackoffPolicy;
  /** Silence after which a watch is given up. Default 150 s: two bookmarks and a half. */
  readonly silentAfterMs?: number;
  /** The API server is asked to end a watch after that, and up to twice that. Default 300 s. */
  readonly watchSeconds?: number;
  /** Default 50,000. */
  readonly maxObjects?: number;
  /** What is kept of an object. Default: all but `metadata.managedFields`, which is half of many objects. */
  readonly keep?: (object: T) => T;
  readonly notice?: (notice: ReflectorNotice) => void;
}

export interface ReflectorState {
  /** True from the first complete list on: what the store says is, or was, the truth. */
  readonly synced: boolean;
  /** The watch stands. */
  readonly watching: boolean;
  /** Since the API server last said anything on it. Null before it ever did. */
  readonly heardMsAgo: number | null;
  readonly lists: number;
  readonly watches: number;
  /** Why it does not watch right now; null while it does. */
  readonly error: string | null;
}

const BACKOFF: BackoffPolicy = { firstMs: 200, maxMs: 30_000, factor: 2 };
const SILENT_AFTER_MS = 150_000;
const WATCH_SECONDS = 300;
const MAX_OBJECTS = 50_000;
/** etcd takes no object larger than 1.5 MiB; JSON of it may be some times that. */
const MAX_LINE_BYTES = 16 * 1024 * 1024;
const HEAD_WITHIN_MS = 15_000;
/** A watch that lived that long was a good one: the next failure starts the backoff anew. */
const GOOD_WATCH_MS = 5_000;

type Next = { readonly next: 'list' | 'watch'; readonly why: string };

export class Reflector<T extends KubeObject> {
  readonly store: StoreView<T>;
  readonly #store: ObjectStore<T>;
  readonly #options: ReflectorOptions<T>;
  readonly #clock: Clock;
  readonly #stop = new AbortController();
  readonly #synced = Promise.withResolvers<boolean>();
  #running: Promise<void> | null = null;
  #resourceVersion: string | null = null;
  #isSynced = false;
  #watching = false;
  #heardAt: number | null = null;
  #failures = 0;
  #lists = 0;
  #watches = 0;
  #error: string | null = null;

  constructor(options: ReflectorOptions<T>) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#store = new ObjectStore(options.maxObjects ?? MAX_OBJECTS);
    this.store = this.#store;
  }

  /** Starts it, once. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** Resolves to true when the store is complete for the first time, or to false when it is stopped before. */
  synced(): Promise<boolean> {
    return this.#synced.promise;
  }

  state(): ReflectorState {
    return {
      synced: this.#isSynced,
      watching: this.#watching,
      heardMsAgo: this.#heardAt === null ? null : this.#clock.now() - this.#heardAt,
      lists: this.#lists,
      watches: this.#watches,
      error: this.#error,
    };
  }

  /** Resolves when nothing of it runs any more. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#synced.resolve(false);
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const broken = await this.#round();
      if (signal.aborted) return;
      if (broken === null) {
        this.#notice({ kind: 'ended' });
        continue;
      }
      if (broken.next === 'list') this.#resourceVersion = null;
      this.#error = broken.why;
      const waitMs = backoffMs(this.#options.backoff ?? BACKOFF, this.#failures, this.#random());
      this.#failures += 1;
      this.#notice({ kind: 'broken', ...broken, waitMs });
      await sleep(this.#clock, waitMs, signal);
    }
  }

  /** One list if there is need, then one watch. Null when the watch ended as it should. */
  async #round(): Promise<Next | null> {
    try {
      const from = this.#resourceVersion ?? (await this.#list());
      this.#resourceVersion = from;
    } catch (error) {
      return { next: 'list', why: text(error) };
    }
    const startedAt = this.#clock.now();
    try {
      const broken = await this.#watch(this.#resourceVersion);
      // A watch that ends at once, again and again, must not become a loop without pause.
      const good = this.#clock.now() - startedAt >= GOOD_WATCH_MS;
      if (good) this.#failures = 0;
      return broken ?? (good ? null : { next: 'watch', why: 'the watch ended at once' });
    } catch (error) {
      if (this.#clock.now() - startedAt >= GOOD_WATCH_MS) this.#failures = 0;
      const forgotten = error instanceof StoreOverflow || (error instanceof KubernetesError && error.reason === 'expired');
      return { next: forgotten ? 'list' : 'watch', why: text(error) };
    } finally {
      this.#watching = false;
    }
  }

  async #list(): Promise<string> {
    const { client, resource, scope, keep = dropManagedFields } = this.#options;
    const { items, resourceVersion } = await client.list(resource, scope, { signal: this.#stop.signal });
    this.#heardAt = this.#clock.now();
    this.#store.replace(items.map(keep));
    this.#lists += 1;
    this.#isSynced = true;
    this.#synced.resolve(true);
    this.#notice({ kind: 'listed', objects: items.length, resourceVersion });
    return resourceVersion;
  }

  async #watch(resourceVersion: string): Promise<Next | null> {
    const { client, resource, scope = {}, silentAfterMs = SILENT_AFTER_MS, watchSeconds = WATCH_SECONDS } = this.#options;
    const asked = { verb: 'watch', resource, namespace: scope.namespace };
    const silence = new Silence(this.#clock, silentAfterMs, this.#stop.signal);
    const silent: Next = { next: 'watch', why: `the API server was silent for ${silentAfterMs} ms` };
    const seconds = Math.ceil(watchSeconds * (1 + this.#random()));
    try {
      const call = { resourceVersion, seconds, signal: silence.signal, timeoutMs: Math.min(HEAD_WITHIN_MS, silentAfterMs) };
      const opened = await client.watch(resource, scope, call);
      if (opened.kind === 'status') throw failureOf(asked, opened.status);
      this.#watches += 1;
      this.#watching = true;
      this.#error = null;
      this.#notice({ kind: 'watching', resourceVersion });
      try {
        for await (const line of readLines(this.#heard(opened.body, silence), MAX_LINE_BYTES)) {
          const broken = this.#take(readEvent(resource, line));
          if (broken !== null) return broken;
        }
        return silence.fell ? silent : null;
      } finally {
        opened.close();
      }
    } catch (error) {
      if (silence.fell) return silent;
      if (error instanceof RangeError) return { next: 'list', why: error.message };
      throw error instanceof StoreOverflow ? error : transportFailure(asked, error);
    } finally {
      silence.end();
    }
  }

  async *#heard(body: AsyncIterable<Uint8Array>, silence: Silence): AsyncGenerator<Uint8Array> {
    for await (const chunk of body) {
      silence.broken();
      this.#heardAt = this.#clock.now();
      yield chunk;
    }
  }

  #take(event: WatchEvent<T>): Next | null {
    switch (event.kind) {
      case 'present':
        this.#store.put((this.#options.keep ?? dropManagedFields)(event.object));
        break;
      case 'gone':
        this.#store.remove(event.object);
        break;
      case 'bookmark':
        break;
      case 'error':
        return { next: event.status.code === 410 ? 'list' : 'watch', why: event.status.message };
      case 'unreadable':
        return { next: 'list', why: `a line of the watch cannot be read: ${event.why}` };
    }
    this.#resourceVersion = event.resourceVersion;
    return null;
  }

  #random(): number {
    return (this.#options.random ?? Math.random)();
  }

  #notice(notice: ReflectorNotice): void {
    this.#options.notice?.(notice);
  }
}

/** A signal that falls when nobody said anything for some time, or when the outer one does. */
class Silence {
  readonly #controller = new AbortController();
  readonly #clock: Clock;
  readonly #afterMs: number;
  readonly #outer: AbortSignal;
  readonly #abort = () => this.#controller.abort();
  #cancel: () => void;
  fell = false;

  constructor(clock: Clock, afterMs: number, outer: AbortSignal) {
    this.#clock = clock;
    this.#afterMs = afterMs;
    this.#outer = outer;
    if (outer.aborted) this.#abort();
    outer.addEventListener('abort', this.#abort, { once: true });
    this.#cancel = this.#wait();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  broken(): void {
    this.#cancel();
    this.#cancel = this.#wait();
  }

  end(): void {
    this.#cancel();
    this.#outer.removeEventListener('abort', this.#abort);
  }

  #wait(): () => void {
    return this.#clock.after(this.#afterMs, () => {
      this.fell = true;
      this.#abort();
    });
  }
}

function dropManagedFields<T extends KubeObject>(object: T): T {
  if (!('managedFields' in object.metadata)) return object;
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
