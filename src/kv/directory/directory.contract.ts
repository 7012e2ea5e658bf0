/** What every directory must do, whatever it is made of. An adapter's test calls this with how to make one. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../shared/index.ts';
import type { KvEvent, KvEventEnvelope, KvSnapshot } from '../events/event.ts';
import { hexNumber } from '../identity/names.ts';
import type { ApplyOutcome, Directory, DirectoryMatch } from './port.ts';

export interface DirectorySetup {
  readonly maxBlocks?: number;
  readonly maxInstances?: number;
}

export type MakeDirectory = (clock: FakeClock, setup: DirectorySetup) => Directory;

/** Keys of a chain: hex digits whose first 53 bits are mixed, as real ones are. */
export function hexes(chain: number, length: number): string[] {
  return Array.from({ length }, (_, index) => {
    const word = (salt: number) => (Math.imul(chain * 1009 + index * 31 + salt, 0x9e3779b1) >>> 0).toString(16).padStart(8, '0');
    return word(1) + word(2) + word(3) + word(4);
  });
}

export function numbers(chain: number, length: number): number[] {
  return hexes(chain, length).map(hexNumber);
}

function stored(incarnation: string, seq: number, keys: readonly string[], tier: 'hbm' | 'host' = 'hbm'): KvEventEnvelope {
  return { incarnation, seq, event: { type: 'stored', tier, keys } };
}

function removed(incarnation: string, seq: number, keys: readonly string[], tier: 'hbm' | 'host' = 'hbm'): KvEventEnvelope {
  return { incarnation, seq, event: { type: 'removed', tier, keys } };
}

function byInstance(matches: readonly DirectoryMatch[]): DirectoryMatch[] {
  return [...matches].sort((a, b) => (a.instance < b.instance ? -1 : 1));
}

export function directoryContract(name: string, make: MakeDirectory): void {
  const fresh = (setup: DirectorySetup = {}) => {
    const clock = new FakeClock();
    return { clock, directory: make(clock, setup) };
  };

  describe(`${name}: what is held`, () => {
    it('counts leading blocks per tier', () => {
      const { directory } = fresh();
      const chain = hexes(1, 6);
      directory.apply('a', stored('a1', 1, chain.slice(0, 3)));
      directory.apply('a', stored('a1', 2, chain.slice(2, 5), 'host'));
      directory.apply('a', stored('a1', 3, chain.slice(0, 1), 'host'));
      directory.apply('b', stored('b1', 1, chain.slice(1)));
      expect(directory.lookup(numbers(1, 6))).toEqual([{ instance: 'a', hbm: 3, host: 1, held: 5, expected: 5 }]);
      expect(directory.lookup(numbers(1, 2))).toEqual([{ instance: 'a', hbm: 2, host: 1, held: 2, expected: 2 }]);
      expect(directory.lookup([])).toEqual([]);
      expect(directory.lookup(numbers(2, 6))).toEqual([]);
    });

    it('forgets what is removed from one tier and keeps the other', () => {
      const { directory } = fresh();
      const chain = hexes(1, 2);
      directory.apply('a', stored('a1', 1, chain));
      directory.apply('a', stored('a1', 2, chain, 'host'));
      directory.apply('a', removed('a1', 3, chain));
      expect(directory.lookup(numbers(1, 2))).toEqual([{ instance: 'a', hbm: 0, host: 2, held: 2, expected: 2 }]);
      directory.apply('a', removed('a1', 4, chain, 'host'));
      expect(directory.lookup(numbers(1, 2))).toEqual([]);
      expect(directory.stats().blocks).toBe(0);
    });

    it('forgets all of an instance that cleared, and of no other', () => {
      const { directory } = fresh();
      directory.apply('a', stored('a1', 1, hexes(1, 2)));
      directory.apply('b', stored('b1', 1, hexes(1, 2)));
      expect(directory.apply('a', { incarnation: 'a1', seq: 2, event: { type: 'cleared' } })).toBe('applied');
      expect(directory.lookup(numbers(1, 2)).map((match) => match.instance)).toEqual(['b']);
      expect(directory.apply('a', stored('a1', 3, hexes(1, 1)))).toBe('applied');
      expect(directory.lookup(numbers(1, 2))).toHaveLength(2);
    });

    it('counts events of shared tiers, and keys that are none, without holding them', () => {
      const { directory } = fresh();
      expect(directory.apply('a', { incarnation: 'a1', seq: 1, event: { type: 'stored', tier: 'store', keys: hexes(1, 2) } })).toBe(
        'applied',
      );
      expect(directory.apply('a', stored('a1', 2, ['no key', '']))).toBe('applied');
      expect(directory.stats().blocks).toBe(0);
      expect(directory.apply('a', stored('a1', 3, hexes(1, 1)))).toBe('applied');
    });
  });

  describe(`${name}: order`, () => {
    it('asks for a snapshot when events are missing, and holds what it knew until then', () => {
      const { directory } = fresh();
      expect(directory.apply('a', stored('a1', 2, hexes(1, 1)))).toBe('gap');
      expect(directory.apply('a', { incarnation: 'a1', seq: 4, tiers: { hbm: hexes(1, 2) } })).toBe('applied');
      expect(directory.apply('a', stored('a1', 6, hexes(1, 3)))).toBe('gap');
      expect(directory.lookup(numbers(1, 3))[0]?.hbm).toBe(2);
      expect(directory.apply('a', stored('a1', 5, hexes(1, 3)))).toBe('applied');
      expect(directory.apply('a', stored('a1', 5, hexes(1, 3)))).toBe('stale');
      expect(directory.apply('a', { incarnation: 'a1', seq: 4, tiers: {} })).toBe('stale');
      expect(directory.lookup(numbers(1, 3))[0]?.hbm).toBe(3);
    });

    it('replaces everything with a snapshot', () => {
      const { directory } = fresh();
      directory.apply('a', stored('a1', 1, hexes(1, 2)));
      expect(directory.apply('a', { incarnation: 'a1', seq: 9, tiers: { host: hexes(2, 1) } })).toBe('applied');
      expect(directory.lookup(numbers(1, 2))).toEqual([]);
      expect(directory.lookup(numbers(2, 2))).toEqual([{ instance: 'a', hbm: 0, host: 1, held: 1, expected: 1 }]);
      expect(directory.apply('a', stored('a1', 10, hexes(2, 2)))).toBe('applied');
    });

    it('clears an earlier incarnation when a later one speaks, and never listens to it again', () => {
      const { directory } = fresh();
      directory.apply('a', stored('a1', 1, hexes(1, 2)));
      expect(directory.apply('a', stored('a2', 1, hexes(2, 1)))).toBe('applied');
      expect(directory.lookup(numbers(1, 2))).toEqual([]);
      expect(directory.apply('a', stored('a1', 2, hexes(1, 2)))).toBe('stale');
      expect(directory.apply('a', { incarnation: 'a1', seq: 99, tiers: { hbm: hexes(1, 2) } })).toBe('stale');
      expect(directory.apply('a', stored('a2', 2, hexes(2, 2)))).toBe('applied');
      expect(directory.lookup(numbers(2, 2))[0]?.hbm).toBe(2);
      expect(directory.apply('a', stored('a3', 7, hexes(3, 1)))).toBe('gap');
      expect(directory.lookup(numbers(2, 2))).toEqual([]);
    });
  });

  describe(`${name}: fencing`, () => {
    it('forgets the instance until a snapshot or a new incarnation', () => {
      const { directory } = fresh();
      directory.apply('a', stored('a1', 1, hexes(1, 2)));
      directory.fence('a');
      directory.fence('unknown');
      expect(directory.lookup(numbers(1, 2))).toEqual([]);
      expect(directory.apply('a', stored('a1', 2, hexes(1, 2)))).toBe('gap');
      expect(directory.apply('a', { incarnation: 'a1', seq: 0, tiers: {} })).toBe('stale');
      expect(directory.apply('a', { incarnation: 'a1', seq: 2, tiers: { hbm: hexes(1, 2) } })).toBe('applied');
      expect(directory.lookup(numbers(1, 2))[0]?.hbm).toBe(2);
      directory.fence('a');
      expect(directory.apply('a', stored('a2', 1, hexes(1, 1)))).toBe('applied');
      expect(directory.lookup(numbers(1, 2))[0]?.hbm).toBe(1);
    });
  });

  describe(`${name}: expectations`, () => {
    it('end with their time', () => {
      const { directory, clock } = fresh();
      directory.apply('a', stored('a1', 1, hexes(1, 1)));
      directory.expect('a', numbers(1, 3), 100);
      directory.expect('unknown', numbers(1, 3), 100);
      expect(directory.lookup(numbers(1, 4))).toEqual([{ instance: 'a', hbm: 1, host: 0, held: 1, expected: 3 }]);
      clock.advance(60);
      directory.expect('a', numbers(1, 2), 100);
      clock.advance(60);
      expect(directory.lookup(numbers(1, 4))[0]?.expected).toBe(2);
      clock.advance(60);
      expect(directory.lookup(numbers(1, 4))[0]?.expected).toBe(1);
      expect(directory.stats()).toMatchObject({ blocks: 1, expectations: 0 });
    });

    it('give way to what the instance says itself', () => {
      const { directory } = fresh();
      directory.apply('a', stored('a1', 1, []));
      directory.expect('a', numbers(1, 3), 100);
      directory.apply('a', stored('a1', 2, hexes(1, 3)));
      directory.apply('a', removed('a1', 3, hexes(1, 3).slice(1)));
      expect(directory.lookup(numbers(1, 3))).toEqual([{ instance: 'a', hbm: 1, host: 0, held: 1, expected: 1 }]);
      expect(directory.stats().expectations).toBe(0);
    });

    it('end with the incarnation', () => {
      const { directory } = fresh();
      directory.apply('a', stored('a1', 1, []));
      directory.expect('a', numbers(1, 3), 100);
      directory.apply('a', stored('a2', 1, []));
      expect(directory.lookup(numbers(1, 3))).toEqual([]);
      expect(directory.stats().expectations).toBe(0);
    });
  });

  describe(`${name}: bounds`, () => {
    it('holds no more blocks than allowed, the ones used lately rather than others', () => {
      const { directory } = fresh({ maxBlocks: 100 });
      for (let chain = 0; chain < 50; chain++) {
        directory.apply('a', stored('a1', chain + 1, hexes(chain + 10, 10)));
        directory.lookup(numbers(10, 10));
        expect(directory.stats().blocks).toBeLessThanOrEqual(100);
      }
      expect(directory.lookup(numbers(10, 10))[0]?.hbm).toBe(10);
      expect(directory.lookup(numbers(59, 10))[0]?.hbm).toBe(10);
      expect(directory.stats().evicted).toBe(400);
    });

    it('refuses more instances than allowed, but lets a new one take the place of a fenced one', () => {
      const { directory } = fresh({ maxInstances: 2 });
      expect(directory.apply('a', stored('a1', 1, hexes(1, 1)))).toBe('applied');
      expect(directory.apply('b', stored('b1', 1, hexes(1, 1)))).toBe('applied');
      expect(directory.apply('c', stored('c1', 1, hexes(1, 1)))).toBe('refused');
      directory.fence('a');
      expect(directory.apply('c', stored('c1', 1, hexes(1, 1)))).toBe('applied');
      expect(byInstance(directory.lookup(numbers(1, 1))).map((match) => match.instance)).toEqual(['b', 'c']);
      expect(directory.stats().instances).toBe(2);
    });

    it('stays right over thousands of restarts of many instances', () => {
      const { directory } = fresh();
      for (let life = 1; life <= 200; life++) {
        for (let number = 0; number < 40; number++) {
          const outcome = directory.apply(`i${number}`, stored(`${life}`, 1, hexes((life + number) % 17, 2)));
          expect(outcome).toBe('applied');
        }
      }
      for (let chain = 0; chain < 17; chain++) {
        const expected = Array.from({ length: 40 }, (_, number) => number).filter((number) => (200 + number) % 17 === chain);
        expect(new Set(directory.lookup(numbers(chain, 2)).map((match) => match.instance))).toEqual(
          new Set(expected.map((number) => `i${number}`)),
        );
      }
    });
  });

  it(`${name}: agrees with the model in any history`, () => {
    fc.assert(
      fc.property(fc.array(act, { maxLength: 80 }), (acts) => {
        const { directory, clock } = fresh();
        const model = new Model(clock);
        for (const next of acts) {
          enact(next, [directory], model, clock);
          for (let chain = 0; chain < CHAINS; chain++) {
            expect(byInstance(directory.lookup(numbers(chain, 7)))).toEqual(byInstance(model.lookup(hexes(chain, 7))));
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  it(`${name}: says nothing that is wrong when there is too little room, and knows what was said last`, () => {
    fc.assert(
      fc.property(fc.array(act, { maxLength: 80 }), (acts) => {
        const { directory, clock } = fresh({ maxBlocks: 8 });
        const model = new Model(clock);
        for (const next of acts) {
          enact(next, [directory], model, clock);
          expect(directory.stats().blocks).toBeLessThanOrEqual(8);
          for (let chain = 0; chain < CHAINS; chain++) {
            const right = new Map(model.lookup(hexes(chain, 7)).map((match) => [match.instance, match]));
            const said = new Map(directory.lookup(numbers(chain, 7)).map((match) => [match.instance, match]));
            for (const [of, { hbm, host, held, expected }] of said) {
              const most = right.get(of) ?? { hbm: 0, host: 0, held: 0, expected: 0 };
              expect(Math.max(hbm - most.hbm, host - most.host, held - most.held, expected - most.expected)).toBeLessThanOrEqual(0);
            }
            // No more keys than there is room for were spoken of, so all of them must be there right afterwards.
            if (next.type !== 'expect' || next.keys.chain !== chain || next.keys.from > 0) continue;
            const reach = (of: Map<string, DirectoryMatch>) => Math.min(next.keys.length, of.get(next.instance)?.expected ?? 0);
            expect(reach(said)).toBe(reach(right));
          }
        }
      }),
      { numRuns: 300 },
    );
  });
}

const CHAINS = 3;

const instance = fc.constantFrom('a', 'b', 'c');
const keysOf = fc.record({ chain: fc.nat(CHAINS - 1), from: fc.nat(3), length: fc.integer({ min: 0, max: 4 }) });
const tier = fc.constantFrom('hbm' as const, 'host' as const, 'store' as const);
/** `skip` jumps over or back in the order of events: 0 = the next one, below = seen before, above = a hole. */
const skip = fc.constantFrom(0, 0, 0, 0, 0, -1, -3, 1);
const life = fc.constantFrom(0, 0, 0, 0, 1, -1);
export const act = fc.oneof(
  fc.record({ type: fc.constantFrom('stored' as const, 'removed' as const), instance, keys: keysOf, tier, skip, life }),
  fc.record({ type: fc.constant('cleared' as const), instance, skip, life }),
  fc.record({ type: fc.constant('snapshot' as const), instance, hbm: keysOf, host: keysOf, skip, life }),
  fc.record({ type: fc.constant('fence' as const), instance }),
  fc.record({ type: fc.constant('expect' as const), instance, keys: keysOf, ttlMs: fc.constantFrom(0, 5, 20) }),
  fc.record({ type: fc.constant('wait' as const), ms: fc.constantFrom(1, 4, 10) }),
);
type Act = typeof act extends fc.Arbitrary<infer T> ? T : never;
type Keys = { readonly chain: number; readonly from: number; readonly length: number };

function cut(keys: Keys): string[] {
  return hexes(keys.chain, 7).slice(keys.from, keys.from + keys.length);
}

/** Does the same to the directories as to the model, which must answer alike. */
export function enact(next: Act, directories: readonly Directory[], model: Model, clock: FakeClock): void {
  if (next.type === 'fence') {
    for (const directory of directories) directory.fence(next.instance);
    model.fence(next.instance);
  } else if (next.type === 'wait') {
    clock.advance(next.ms);
  } else if (next.type === 'expect') {
    for (const directory of directories) directory.expect(next.instance, cut(next.keys).map(hexNumber), next.ttlMs);
    model.expect(next.instance, cut(next.keys), next.ttlMs);
  } else {
    const update = updateOf(next, model);
    const outcome = model.apply(next.instance, update);
    for (const directory of directories) expect(directory.apply(next.instance, update)).toBe(outcome);
  }
}

function updateOf(next: Extract<Act, { skip: number }>, model: Model): KvEventEnvelope | KvSnapshot {
  const known = model.instances.get(next.instance);
  const incarnation = known ? Math.max(1, known.incarnation + next.life) : 1;
  const seq = Math.max(1, (known?.incarnation === incarnation ? known.seq : 0) + 1 + next.skip);
  if (next.type === 'snapshot') return { incarnation: `${incarnation}`, seq, tiers: { hbm: cut(next.hbm), host: cut(next.host) } };
  const event: KvEvent = next.type === 'cleared' ? { type: 'cleared' } : { type: next.type, tier: next.tier, keys: cut(next.keys) };
  return { incarnation: `${incarnation}`, seq, event };
}

interface Known {
  incarnation: number;
  seq: number;
  state: 'new' | 'known' | 'fenced';
  hbm: Set<string>;
  host: Set<string>;
  expected: Map<string, number>;
}

/** The same rules with sets; incarnations are numbers, so "earlier" is plain. */
export class Model {
  readonly instances = new Map<string, Known>();
  readonly #clock: FakeClock;
  constructor(clock: FakeClock) {
    this.#clock = clock;
  }

  fence(name: string): void {
    const known = this.instances.get(name);
    if (known) Object.assign(known, { ...nothing(), state: 'fenced' });
  }

  expect(name: string, keys: readonly string[], ttlMs: number): void {
    const known = this.instances.get(name);
    if (known?.state !== 'known' || ttlMs <= 0) return;
    const endsAt = this.#clock.now() + ttlMs;
    for (const key of keys) known.expected.set(key, Math.max(endsAt, known.expected.get(key) ?? 0));
  }

  apply(name: string, update: KvEventEnvelope | KvSnapshot): ApplyOutcome {
    const incarnation = Number(update.incarnation);
    const known = this.instances.get(name) ?? { incarnation, seq: 0, state: 'new', ...nothing() };
    this.instances.set(name, known);
    if (incarnation < known.incarnation) return 'stale';
    if (incarnation > known.incarnation) Object.assign(known, { incarnation, seq: 0, state: 'new', ...nothing() });
    if ('tiers' in update) {
      if (update.seq < known.seq) return 'stale';
      Object.assign(known, {
        ...nothing(),
        seq: update.seq,
        state: 'known',
        hbm: new Set(update.tiers.hbm),
        host: new Set(update.tiers.host),
      });
      return 'applied';
    }
    if (update.seq <= known.seq) return 'stale';
    if (update.seq > known.seq + 1 || known.state === 'fenced') return 'gap';
    known.seq = update.seq;
    known.state = 'known';
    this.#change(known, update.event);
    return 'applied';
  }

  #change(known: Known, event: KvEvent): void {
    if (event.type === 'cleared') Object.assign(known, nothing());
    else if (event.tier === 'hbm' || event.tier === 'host') {
      for (const key of event.keys) {
        if (event.type === 'stored') known[event.tier].add(key);
        else known[event.tier].delete(key);
        known.expected.delete(key);
      }
    }
  }

  lookup(keys: readonly string[]): DirectoryMatch[] {
    const leading = (holds: (key: string) => boolean) => {
      const miss = keys.findIndex((key) => !holds(key));
      return miss < 0 ? keys.length : miss;
    };
    const now = this.#clock.now();
    return [...this.instances].flatMap(([name, known]) => {
      const held = (key: string) => known.hbm.has(key) || known.host.has(key);
      const expected = leading((key) => held(key) || (known.expected.get(key) ?? 0) > now);
      if (expected === 0) return [];
      const hbm = leading((key) => known.hbm.has(key));
      return [{ instance: name, hbm, host: leading((key) => known.host.has(key)), held: leading(held), expected }];
    });
  }
}

function nothing(): Pick<Known, 'hbm' | 'host' | 'expected'> {
  return { hbm: new Set(), host: new Set(), expected: new Map() };
}
