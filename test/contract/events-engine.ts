/** An engine that only holds blocks and tells of them, and a listener that knows what it was told. */
import {
  type ApplyOutcome,
  type Directory,
  type EventListener,
  type EventSource,
  hexNumber,
  type KvEvent,
  type KvEventEnvelope,
  type KvSnapshot,
  type Life,
  memoryDirectory,
  type Tier,
} from '../../src/kv/index.ts';
import { type Clock, systemClock } from '../../src/shared/index.ts';

export class ToldEngine implements EventSource {
  readonly life: Life;
  readonly held = new Map<Tier, Set<string>>();
  #seq = 0;
  readonly #listeners = new Set<(envelope: KvEventEnvelope) => void>();
  running = 0;

  constructor(life: Life) {
    this.life = life;
  }

  get seq(): number {
    return this.#seq;
  }

  snapshot(): KvSnapshot {
    const tiers = Object.fromEntries([...this.held].map(([tier, keys]) => [tier, [...keys]]));
    return { incarnation: this.life.incarnation, seq: this.#seq, tiers };
  }

  onEvent(listener: (envelope: KvEventEnvelope) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  load(): unknown {
    return { running: this.running };
  }

  store(keys: readonly string[], tier: Tier = 'hbm'): void {
    const held = this.held.get(tier) ?? new Set();
    this.held.set(tier, held);
    for (const key of keys) held.add(key);
    this.#emit({ type: 'stored', tier, keys });
  }

  remove(keys: readonly string[], tier: Tier = 'hbm'): void {
    for (const key of keys) this.held.get(tier)?.delete(key);
    this.#emit({ type: 'removed', tier, keys });
  }

  clear(): void {
    this.held.clear();
    this.#emit({ type: 'cleared' });
  }

  #emit(event: KvEvent): void {
    this.#seq += 1;
    const envelope = { incarnation: this.life.incarnation, seq: this.#seq, event };
    for (const listener of this.#listeners) listener(envelope);
  }
}

/** A router's index, with what it was told. */
export class Index implements EventListener {
  readonly directory: Directory;
  readonly outcomes: ApplyOutcome[] = [];
  readonly snapshots: KvSnapshot[] = [];
  readonly loads: { readonly instance: string; readonly incarnation: string; readonly load: unknown }[] = [];

  constructor(clock: Clock = systemClock) {
    this.directory = memoryDirectory({ clock, maxBlocks: 1_000_000 });
  }

  update(instance: string, update: KvEventEnvelope | KvSnapshot): ApplyOutcome {
    if ('tiers' in update) this.snapshots.push(update);
    const outcome = this.directory.apply(instance, update);
    this.outcomes.push(outcome);
    return outcome;
  }

  load(instance: string, incarnation: string, load: unknown): void {
    this.loads.push({ instance, incarnation, load });
  }

  /** Leading blocks of the chain by instance. */
  held(keys: readonly string[]): Record<string, number> {
    return Object.fromEntries(this.directory.lookup(keys.map(hexNumber)).map(({ instance, held }) => [instance, held]));
  }

  /** Which of the keys an instance holds, each looked up by itself. */
  holds(instance: string, keys: readonly string[]): boolean[] {
    return keys.map((key) => this.directory.lookup([hexNumber(key)]).some((match) => match.instance === instance && match.held > 0));
  }
}

/** Keys of a chain; as those of real blocks, an index tells them apart by their beginning. */
export function blocks(name: number, length: number): string[] {
  return Array.from({ length }, (_, index) =>
    ((BigInt(name * 1_000_000 + index) * 0x9e3779b97f4a7c15n) & 0xffff_ffff_ffff_ffffn).toString(16).padStart(16, '0').padEnd(32, '0'),
  );
}
