/**
 * Keeps what one engine holds published in the shared directory, for as long as it lives: joins, publishes all it holds, then what changes,
 * and renews the life. After whatever went wrong it joins and publishes anew.
 *
 * Invariants
 * - The engine never waits: at most `maxQueuedKeys` keys of what changed wait here, beside all it held when it joined; more are published by
 *   joining anew.
 * - One call at a time, so that the order of changes is that of the engine.
 */
import { type BackoffPolicy, backoffMs, type Cancel, type Clock } from '../../../shared/index.ts';
import type { KvEvent, KvEventEnvelope, KvSnapshot, Tier } from '../../events/event.ts';
import { DEFAULT_BLOCK_TTL_MS, MAX_KEYS } from './bounds.ts';
import { DirectoryFault } from './fault.ts';
import type { ChangeOutcome, Life, SharedDirectory } from './port.ts';

export interface WriterOptions {
  readonly directory: Pick<SharedDirectory, 'join' | 'renew' | 'fence' | 'publish' | 'withdraw'>;
  readonly life: Life;
  readonly source: { snapshot(): KvSnapshot; onEvent(listener: (envelope: KvEventEnvelope) => void): () => void };
  /** Of each block; 1 to 2^32 - 1. */
  readonly blockBytes: number;
  readonly clock: Clock;
  readonly random: () => number;
  /** How long the life lasts when nobody renews it; default 15 s. */
  readonly lifeMs?: number;
  /** As the directory was told; default 1 h. All is published anew in half of it. */
  readonly blockTtlMs?: number;
  /** Default 131,072. */
  readonly maxQueuedKeys?: number;
  /** The state is another one. */
  readonly onState?: (state: WriterState) => void;
}

/** - `away`: the directory cannot be reached, or wants no more. - `over`: this incarnation was fenced, for good. */
export type WriterState = { readonly name: 'joining' | 'published' | 'over' } | { readonly name: 'away'; readonly message: string };

export interface WriterStats {
  readonly joins: number;
  readonly calls: number;
  readonly failures: number;
  /** Events that joining anew took the place of. */
  readonly dropped: number;
}

type Told = Exclude<KvEvent, { readonly type: 'cleared' }>;

interface Change extends Pick<Told, 'type' | 'tier'> {
  /** At most `MAX_KEYS`; a set, since a key that is named twice would be refused. */
  readonly keys: Set<string>;
  /** Of the keys, those that count against `maxQueuedKeys`. */
  counted: number;
}

type Next = { readonly type: 'join' } | { readonly type: 'renew' } | { readonly type: 'change'; readonly change: Change } | null;

const AGAIN: BackoffPolicy = { firstMs: 50, maxMs: 2_000, factor: 2 };

export class DirectoryWriter {
  readonly #options: WriterOptions;
  readonly #lifeMs: number;
  readonly #maxQueuedKeys: number;
  readonly #stopListening: () => void;
  #queue: Change[] = [];
  #queuedKeys = 0;
  #joins = true;
  /** The change that is under way, or failed and is repeated with its number. */
  #current: Change | null = null;
  #seq = 0;
  #renewAt = 0;
  #rejoinAt = Number.POSITIVE_INFINITY;
  #failures = 0;
  #state: WriterState = { name: 'joining' };
  #busy = false;
  #cancel: Cancel | null = null;
  #stopped = false;
  readonly #counts = { joins: 0, calls: 0, failures: 0, dropped: 0 };

  constructor(options: WriterOptions) {
    this.#options = options;
    this.#lifeMs = options.lifeMs ?? 15_000;
    this.#maxQueuedKeys = options.maxQueuedKeys ?? 131_072;
    this.#stopListening = options.source.onEvent(({ event }) => this.#take(event));
    this.#work();
  }

  get state(): WriterState {
    return this.#state;
  }

  get stats(): WriterStats {
    return { ...this.#counts };
  }

  /** Ends the life in the directory, if that can be reached: what it held is gone at once. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel?.();
    this.#stopListening();
    await this.#options.directory.fence(this.#options.life).catch(() => undefined);
  }

  #take(event: KvEvent): void {
    // The snapshot that is published with the next life holds it.
    if (this.#joins) {
      this.#counts.dropped += 1;
      return;
    }
    if (event.type === 'cleared' || this.#queuedKeys + event.keys.length > this.#maxQueuedKeys) return this.#rejoin();
    this.#queuedKeys += event.keys.length;
    this.#enqueue(event, 1);
    this.#work();
  }

  /** One call for what comes in a burst. @param counted what each key counts */
  #enqueue({ type, tier, keys }: Told, counted: 0 | 1): void {
    let last = this.#queue.at(-1);
    for (const key of keys) {
      if (!last || last.type !== type || last.tier !== tier || last.keys.size >= MAX_KEYS) {
        last = { type, tier, keys: new Set(), counted: 0 };
        this.#queue.push(last);
      }
      last.keys.add(key);
      last.counted += counted;
    }
  }

  #rejoin(): void {
    this.#drop();
    this.#work();
  }

  /** The snapshot that is published with the next life holds all of it. */
  #drop(): void {
    this.#counts.dropped += this.#queue.length;
    this.#joins = true;
    this.#queue = [];
    this.#queuedKeys = 0;
    this.#current = null;
  }

  #next(): Next {
    const now = this.#options.clock.now();
    if (this.#joins || now >= this.#rejoinAt) return { type: 'join' };
    if (now >= this.#renewAt) return { type: 'renew' };
    if (this.#current === null) {
      const change = this.#queue.shift() ?? null;
      if (change === null) return null;
      this.#queuedKeys -= change.counted;
      this.#current = change;
      this.#seq += 1;
    }
    return { type: 'change', change: this.#current };
  }

  #work(): void {
    if (this.#busy || this.#stopped || this.#state.name === 'over') return;
    if (this.#state.name === 'away' && this.#cancel !== null) return;
    this.#cancel?.();
    this.#cancel = null;
    const next = this.#next();
    if (next === null) {
      this.#sleep(this.#renewAt - this.#options.clock.now());
      return;
    }
    this.#busy = true;
    this.#counts.calls += 1;
    this.#do(next).then(
      () => this.#done(),
      (error: unknown) => this.#failed(error),
    );
  }

  async #do(next: NonNullable<Next>): Promise<void> {
    const { directory, life, blockBytes } = this.#options;
    switch (next.type) {
      case 'join':
        return this.#join();
      case 'renew': {
        const outcome = await directory.renew(life, this.#lifeMs);
        if (outcome === 'renewed') this.#renewAt = this.#options.clock.now() + this.#lifeMs / 3;
        else this.#lost(outcome);
        return;
      }
      case 'change': {
        const { type, tier } = next.change;
        const [seq, keys] = [this.#seq, [...next.change.keys]];
        const outcome =
          type === 'stored'
            ? await directory.publish(life, { seq, tier, keys, blockBytes })
            : // The engine has let go of the bytes when it tells.
              (await directory.withdraw(life, { seq, tier, keys, force: true })).outcome;
        // Joined anew meanwhile: this call was of the time before.
        if (this.#current === next.change) this.#changed(outcome);
      }
    }
  }

  async #join(): Promise<void> {
    const { directory, life, source, clock, blockTtlMs = DEFAULT_BLOCK_TTL_MS } = this.#options;
    this.#drop();
    const outcome = await directory.join(life, this.#lifeMs);
    if (outcome === 'fenced') return this.#lost('fenced');
    if (outcome === 'refused') throw new DirectoryFault('overloaded', 'the directory has as many instances as it may (maxInstances)');
    this.#counts.joins += 1;
    this.#seq = 0;
    this.#renewAt = clock.now() + this.#lifeMs / 3;
    this.#rejoinAt = clock.now() + blockTtlMs / 2;
    this.#joins = false;
    // Beyond the bound that events have: all that is held must be published once.
    for (const [tier, keys] of Object.entries(source.snapshot().tiers) as [Tier, readonly string[]][])
      this.#enqueue({ type: 'stored', tier, keys }, 0);
  }

  #changed(outcome: ChangeOutcome): void {
    if (outcome === 'applied' || outcome === 'stale') this.#current = null;
    else this.#lost(outcome);
  }

  #lost(outcome: 'unknown' | 'gap' | 'fenced'): void {
    if (outcome !== 'fenced') return this.#rejoin();
    this.#stopListening();
    this.#drop();
    this.#enter({ name: 'over' });
  }

  #done(): void {
    this.#busy = false;
    this.#failures = 0;
    if (this.#state.name !== 'over') this.#enter({ name: this.#joins ? 'joining' : 'published' });
    this.#work();
  }

  #failed(error: unknown): void {
    this.#busy = false;
    this.#counts.failures += 1;
    this.#enter({ name: 'away', message: error instanceof Error ? error.message : String(error) });
    this.#sleep(backoffMs(AGAIN, this.#failures++, this.#options.random()));
  }

  #sleep(ms: number): void {
    if (this.#stopped) return;
    this.#cancel?.();
    this.#cancel = this.#options.clock.after(Math.max(1, ms), () => {
      this.#cancel = null;
      this.#work();
    });
  }

  #enter(state: WriterState): void {
    const { name } = this.#state;
    this.#state = state;
    if (state.name !== name) this.#options.onState?.(state);
  }
}
