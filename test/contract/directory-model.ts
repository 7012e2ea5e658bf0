/** The shared directory as plain facts, without time: lives and leases end when a history says so. Slow and easy to believe. */
import type { ChangeOutcome, FenceOutcome, JoinOutcome, Life, SharedMatch, Tier } from '../../src/kv/index.ts';

interface InstanceFacts {
  incarnation: string | null;
  alive: boolean;
  seq: number;
  readonly over: Set<string>;
}

interface Fact {
  readonly instance: string;
  readonly key: string;
  readonly tier: Tier;
  readonly bytes: number;
}

interface LeaseFacts extends Life {
  readonly keys: Set<string>;
  alive: boolean;
}

const ORDER: readonly Tier[] = ['hbm', 'host', 'peer', 'store'];

export class DirectoryModel {
  readonly #instances = new Map<string, InstanceFacts>();
  readonly #leases = new Map<number, LeaseFacts>();
  #facts: Fact[] = [];

  join({ instance, incarnation }: Life): JoinOutcome {
    const known = this.#factsOf(instance);
    if (known.over.has(incarnation)) return 'fenced';
    if (known.incarnation !== null && known.incarnation !== incarnation) known.over.add(known.incarnation);
    this.#forget(instance);
    Object.assign(known, { incarnation, alive: true, seq: 0 });
    return 'joined';
  }

  fence({ instance, incarnation }: Life): FenceOutcome {
    const known = this.#factsOf(instance);
    const outcome = known.incarnation === incarnation && known.alive ? 'fenced' : 'absent';
    known.over.add(incarnation);
    if (known.incarnation === incarnation) {
      known.alive = false;
      this.#forget(instance);
    }
    for (const lease of this.#leases.values()) if (lease.instance === instance && lease.incarnation === incarnation) lease.alive = false;
    return outcome;
  }

  /** The life's time is over. */
  lapse({ instance, incarnation }: Life): void {
    const known = this.#factsOf(instance);
    if (known.incarnation !== incarnation) return;
    known.alive = false;
    this.#forget(instance);
  }

  state({ instance, incarnation }: Life): 'alive' | 'unknown' | 'fenced' {
    const known = this.#factsOf(instance);
    if (known.over.has(incarnation)) return 'fenced';
    return known.incarnation === incarnation && known.alive ? 'alive' : 'unknown';
  }

  seq(life: Life): number {
    return this.#factsOf(life.instance).seq;
  }

  publish(life: Life, seq: number, facts: readonly Omit<Fact, 'instance'>[]): ChangeOutcome {
    const outcome = this.#order(life, seq);
    if (outcome !== 'applied') return outcome;
    for (const fact of facts) {
      this.#facts = this.#facts.filter((old) => !(isAt(old, life.instance, fact.key) && old.tier === fact.tier));
      this.#facts.push({ instance: life.instance, ...fact });
    }
    return 'applied';
  }

  withdraw(life: Life, seq: number, tier: Tier, { keys, force }: { keys: readonly string[]; force: boolean }) {
    const outcome = this.#order(life, seq);
    const published = (key: string) => this.#facts.some((fact) => isAt(fact, life.instance, key) && fact.tier === tier);
    if (outcome === 'stale') return { outcome, kept: keys.filter(published) };
    if (outcome !== 'applied') return { outcome, kept: [] };
    const kept: string[] = [];
    for (const key of keys.filter(published)) {
      const isLast = !this.#facts.some((fact) => isAt(fact, life.instance, key) && fact.tier !== tier);
      if (isLast && !force && this.#isLeased(life, key)) {
        kept.push(key);
        continue;
      }
      this.#facts = this.#facts.filter((fact) => !(isAt(fact, life.instance, key) && fact.tier === tier));
      if (isLast) for (const lease of this.#leases.values()) if (isOf(lease, life)) lease.keys.delete(key);
    }
    return { outcome, kept };
  }

  lookup(keys: readonly string[]): Omit<SharedMatch, 'lifeMs'>[] {
    return [...this.#instances].flatMap(([instance, { alive, incarnation }]) => {
      const held = this.#leading(keys, (key) => this.#facts.some((fact) => isAt(fact, instance, key)));
      if (!alive || held === 0) return [];
      const inTier = (tier: Tier) =>
        this.#leading(keys, (key) => this.#facts.some((fact) => isAt(fact, instance, key) && fact.tier === tier));
      const bytes = keys.slice(0, held).map((key) => {
        const at = this.#facts.filter((fact) => isAt(fact, instance, key));
        return at.sort((a, b) => ORDER.indexOf(a.tier) - ORDER.indexOf(b.tier))[0]?.bytes ?? 0;
      });
      const tiers = { hbm: inTier('hbm'), host: inTier('host'), peer: inTier('peer'), store: inTier('store') };
      return [{ instance, incarnation: incarnation ?? '', held, tiers, heldBytes: bytes.reduce((sum, one) => sum + one, 0) }];
    });
  }

  /** How many leading keys are leased under `id`, or why none are. */
  lease(id: number, life: Life, keys: readonly string[]): number | 'missing' | 'unknown' | 'fenced' {
    const state = this.state(life);
    if (state !== 'alive') return state;
    const held = this.#leading(keys, (key) => this.#facts.some((fact) => isAt(fact, life.instance, key)));
    if (held === 0) return 'missing';
    this.#leases.set(id, { ...life, keys: new Set(keys.slice(0, held)), alive: true });
    return held;
  }

  renewLease(id: number): 'renewed' | 'over' {
    return this.#goesOn(id) ? 'renewed' : 'over';
  }

  /** By release, or because its time is over. */
  endLease(id: number): 'released' | 'over' {
    const outcome = this.#goesOn(id) ? 'released' : 'over';
    this.#leases.delete(id);
    return outcome;
  }

  stats(): { instance: string; incarnation: string; blocks: number; bytes: number }[] {
    return [...this.#instances].flatMap(([instance, { alive, incarnation }]) => {
      const facts = this.#facts.filter((fact) => fact.instance === instance);
      const bytes = facts.reduce((sum, fact) => sum + fact.bytes, 0);
      return alive ? [{ instance, incarnation: incarnation ?? '', blocks: facts.length, bytes }] : [];
    });
  }

  #goesOn(id: number): boolean {
    const lease = this.#leases.get(id);
    return lease?.alive === true && lease.keys.size > 0 && this.state(lease) === 'alive';
  }

  #isLeased(life: Life, key: string): boolean {
    return [...this.#leases.values()].some((lease) => isOf(lease, life) && lease.alive && lease.keys.has(key));
  }

  #order(life: Life, seq: number): ChangeOutcome {
    const state = this.state(life);
    if (state !== 'alive') return state;
    const known = this.#factsOf(life.instance);
    if (seq <= known.seq) return 'stale';
    if (seq > known.seq + 1) return 'gap';
    known.seq = seq;
    return 'applied';
  }

  #leading(keys: readonly string[], holds: (key: string) => boolean): number {
    const hole = keys.findIndex((key) => !holds(key));
    return hole === -1 ? keys.length : hole;
  }

  #forget(instance: string): void {
    this.#facts = this.#facts.filter((fact) => fact.instance !== instance);
  }

  #factsOf(instance: string): InstanceFacts {
    const known = this.#instances.get(instance) ?? { incarnation: null, alive: false, seq: 0, over: new Set<string>() };
    this.#instances.set(instance, known);
    return known;
  }
}

function isAt(fact: Fact, instance: string, key: string): boolean {
  return fact.instance === instance && fact.key === key;
}

function isOf(lease: LeaseFacts, { instance, incarnation }: Life): boolean {
  return lease.instance === instance && lease.incarnation === incarnation;
}
