import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../shared/index.ts';
import { checksum, type KvBlock, kvBlock } from './block.ts';
import { type HostChange, HostTier } from './tier.ts';

const TOKENS = 4;

/** Block `index` of chain `chain`; key and tokens follow from both. */
function blockOf(chain: number, index: number, bytes = 100): KvBlock {
  const parent = index === 0 ? null : keyOf(chain, index - 1);
  return kvBlock(keyOf(chain, index), parent, tokensOf(chain, index), new Uint8Array(bytes).fill(chain * 16 + index));
}

function keyOf(chain: number, index: number): string {
  return `${chain}-${index}`;
}

function tokensOf(chain: number, index: number): Int32Array {
  return Int32Array.from({ length: TOKENS }, (_, at) => chain * 1000 + index * TOKENS + at);
}

function chainOf(chain: number, length: number): KvBlock[] {
  return Array.from({ length }, (_, index) => blockOf(chain, index));
}

function keysOf(blocks: readonly KvBlock[]): string[] {
  return blocks.map((block) => block.key);
}

function promptOf(blocks: readonly KvBlock[]): Int32Array {
  return Int32Array.from(blocks.flatMap((block) => [...block.tokens]));
}

function tierOf(blocks: number, clock = new FakeClock()) {
  let ids = 0;
  const tier = new HostTier({ capacityBytes: blocks * 100, clock, maxLeases: 3, newLeaseId: () => `lease-${++ids}` });
  return { tier, clock };
}

describe('holding blocks', () => {
  it('gives back what was put, with its checksum', () => {
    const { tier } = tierOf(2);
    const block = blockOf(1, 0);
    expect(tier.put(block)).toBe(true);
    expect(tier.get(block.key)).toBe(block);
    expect(tier.peek(block.key)).toBe(block);
    expect(block.crc).toBe(checksum(block.bytes));
    expect([tier.usedBytes, tier.size, tier.has(block.key), tier.get('other')]).toEqual([100, 1, true, null]);
  });

  it('forgets the longest unused block for a new one', () => {
    const { tier } = tierOf(2);
    tier.put(blockOf(1, 0));
    tier.put(blockOf(2, 0));
    tier.get(keyOf(1, 0));
    tier.put(blockOf(3, 0));
    expect([tier.has(keyOf(1, 0)), tier.has(keyOf(2, 0)), tier.has(keyOf(3, 0))]).toEqual([true, false, true]);
  });

  it('looks without touching', () => {
    const { tier } = tierOf(2);
    tier.put(blockOf(1, 0));
    tier.put(blockOf(2, 0));
    tier.peek(keyOf(1, 0));
    tier.put(blockOf(3, 0));
    expect(tier.has(keyOf(1, 0))).toBe(false);
  });

  it('takes a second put as use and keeps the first bytes', () => {
    const { tier } = tierOf(2);
    const first = blockOf(1, 0);
    tier.put(first);
    tier.put(blockOf(2, 0));
    expect(tier.put(blockOf(1, 0, 50))).toBe(true);
    tier.put(blockOf(3, 0));
    expect(tier.peek(first.key)).toBe(first);
    expect(tier.usedBytes).toBe(200);
  });

  it('forgets a chain from its end, also when it was matched in between', () => {
    const { tier } = tierOf(4);
    const chain = chainOf(1, 4);
    expect(tier.putChain(chain)).toBe(4);
    tier.put(blockOf(2, 0));
    expect(tier.matchPrefix(keysOf(chain), promptOf(chain))).toBe(3);
    tier.put(blockOf(3, 0));
    tier.put(blockOf(4, 0));
    expect(chain.map((block) => tier.has(block.key))).toEqual([true, true, false, false]);
  });

  it('stores as much of a chain as fits and evicts nothing of it', () => {
    const { tier } = tierOf(3);
    tier.put(blockOf(2, 0));
    expect(tier.putChain(chainOf(1, 5))).toBe(3);
    expect([tier.size, tier.has(keyOf(1, 0)), tier.has(keyOf(2, 0))]).toEqual([3, true, false]);
  });

  it('evicts nothing for a block that can never fit', () => {
    const { tier } = tierOf(2);
    tier.putChain(chainOf(1, 2));
    expect(tier.put(blockOf(2, 0, 201))).toBe(false);
    expect(tier.size).toBe(2);
  });

  it('matches only the very tokens', () => {
    const { tier } = tierOf(4);
    const chain = chainOf(1, 3);
    tier.putChain(chain);
    const other = promptOf(chain);
    other[TOKENS + 1] = -1;
    expect(tier.matchPrefix(keysOf(chain), other)).toBe(1);
    expect(tier.matchPrefix(keysOf(chain), promptOf(chain).subarray(0, TOKENS * 2 - 1))).toBe(1);
    expect(tier.matchPrefix(keysOf(chain), promptOf(chain))).toBe(3);
    expect(tier.matchPrefix([], promptOf(chain))).toBe(0);
  });

  it('names a wrong capacity', () => {
    expect(() => new HostTier({ capacityBytes: Number.NaN, clock: new FakeClock() })).toThrow('capacityBytes: expected 0 or more, got NaN');
  });
});

describe('leases', () => {
  it('keep blocks until they end, and refuse what then does not fit', () => {
    const { tier, clock } = tierOf(2);
    tier.putChain(chainOf(1, 2));
    const lease = tier.lease([keyOf(1, 0), keyOf(1, 1), keyOf(1, 2)], 1000);
    expect(lease).toEqual({ id: 'lease-1', keys: [keyOf(1, 0), keyOf(1, 1)] });
    expect(tier.put(blockOf(2, 0))).toBe(false);
    clock.advance(999);
    expect(tier.put(blockOf(2, 0))).toBe(false);
    clock.advance(1);
    expect(tier.put(blockOf(2, 0))).toBe(true);
    expect([tier.leases, tier.leasesExpired]).toEqual([0, 1]);
    expect([tier.has(keyOf(1, 0)), tier.has(keyOf(1, 1))]).toEqual([true, false]);
  });

  it('count from the last renewal', () => {
    const { tier, clock } = tierOf(2);
    tier.put(blockOf(1, 0));
    tier.lease([keyOf(1, 0)], 1000);
    clock.advance(900);
    expect(tier.renew('lease-1')).toBe(true);
    clock.advance(900);
    expect([tier.leases, tier.leasesExpired]).toEqual([1, 0]);
    clock.advance(100);
    expect([tier.leases, tier.leasesExpired]).toEqual([0, 1]);
    expect([tier.renew('lease-1'), tier.release('lease-1')]).toEqual([false, false]);
  });

  it('hold a block as long as any of them lives', () => {
    const { tier } = tierOf(1);
    tier.put(blockOf(1, 0));
    tier.lease([keyOf(1, 0)], 1000);
    tier.lease([keyOf(1, 0)], 1000);
    expect(tier.release('lease-1')).toBe(true);
    expect(tier.release('lease-1')).toBe(false);
    expect(tier.put(blockOf(2, 0))).toBe(false);
    tier.release('lease-2');
    expect(tier.put(blockOf(2, 0))).toBe(true);
    expect(tier.leasesExpired).toBe(0);
  });

  it('are not given for nothing, and not without bound', () => {
    const { tier } = tierOf(1);
    expect(tier.lease([keyOf(1, 0)], 1000)).toBeNull();
    expect(tier.lease([], 1000)).toBeNull();
    tier.put(blockOf(1, 0));
    for (let count = 0; count < 3; count++) expect(tier.lease([keyOf(1, 0)], 1000)).not.toBeNull();
    expect(tier.lease([keyOf(1, 0)], 1000)).toBeNull();
    tier.release('lease-2');
    expect(tier.lease([keyOf(1, 0)], 1000)).not.toBeNull();
    tier.release('lease-1');
    for (const ttlMs of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) expect(() => tier.lease([keyOf(1, 0)], ttlMs)).toThrow('ttlMs');
  });

  it('end with everything when the tier is cleared', () => {
    const { tier, clock } = tierOf(2);
    tier.put(blockOf(1, 0));
    tier.lease([keyOf(1, 0)], 1000);
    tier.clear();
    expect([tier.leases, tier.usedBytes, tier.size]).toEqual([0, 0, 0]);
    tier.putChain(chainOf(2, 2));
    clock.advance(5000);
    expect([tier.size, tier.leasesExpired]).toEqual([2, 0]);
  });

  it('do not pile up when they are given and released quickly', () => {
    const timers = new Set<object>();
    const clock = {
      now: () => 0,
      wall: () => 0,
      after: () => {
        const timer = {};
        timers.add(timer);
        return () => timers.delete(timer);
      },
    };
    const tier = new HostTier({ capacityBytes: 100, clock });
    tier.put(blockOf(1, 0));
    const kept = tier.lease([keyOf(1, 0)], 60_000);
    for (let count = 0; count < 10_000; count++) tier.release(tier.lease([keyOf(1, 0)], 60_000)?.id ?? '');
    expect([tier.leases, timers.size]).toEqual([1, 1]);
    tier.release(kept?.id ?? '');
    expect(timers.size).toBe(0);
  });
});

describe('onChange', () => {
  it('tells removed and stored keys once per call', () => {
    const { tier } = tierOf(2);
    const changes: HostChange[] = [];
    const stop = tier.onChange((change) => changes.push(change));
    tier.putChain(chainOf(1, 2));
    tier.putChain(chainOf(1, 2));
    tier.putChain(chainOf(2, 2));
    tier.clear();
    stop();
    tier.put(blockOf(1, 0));
    expect(changes).toEqual([
      { type: 'changed', removed: [], stored: [keyOf(1, 0), keyOf(1, 1)], evicted: [] },
      {
        type: 'changed',
        removed: [keyOf(1, 1), keyOf(1, 0)],
        stored: [keyOf(2, 0), keyOf(2, 1)],
        evicted: [blockOf(1, 1), blockOf(1, 0)],
      },
      { type: 'cleared' },
    ]);
  });

  it('makes room for more than was asked, once it must, so that blocks leave together', () => {
    const bytes = blockOf(1, 0).bytes.byteLength;
    const tier = new HostTier({ capacityBytes: 32 * bytes, clock: new FakeClock(), evictBytes: 3 * bytes });
    const evicted: number[] = [];
    tier.onChange((change) => {
      if (change.type === 'changed') evicted.push(change.evicted.length);
    });
    tier.putChain(chainOf(1, 32));
    for (let index = 0; index < 4; index++) tier.put(blockOf(2, index));
    expect(evicted).toEqual([0, 3, 0, 0, 3]);
    expect(tier.size).toBe(30);
  });

  it('drops a damaged block, but none under a lease', () => {
    const { tier } = tierOf(4);
    tier.putChain(chainOf(1, 2));
    tier.lease([keyOf(1, 0)], 1000);
    expect(tier.discard(keyOf(1, 1))).toBe(true);
    expect(tier.discard(keyOf(1, 0))).toBe(false);
    expect(tier.discard(keyOf(1, 1))).toBe(false);
    expect(tier.keys()).toEqual([keyOf(1, 0)]);
    expect(tier.usedBytes).toBe(blockOf(1, 0).bytes.byteLength);
  });
});

/** What the tier should do, said slowly: one list in order of use, pins counted anew each time. */
class Model {
  readonly #capacity: number;
  order: KvBlock[] = [];
  leases: { id: string; keys: string[]; ttlMs: number; endsAt: number }[] = [];
  constructor(capacity: number) {
    this.#capacity = capacity;
  }
  has(key: string): boolean {
    return this.order.some((block) => block.key === key);
  }
  /** How many leading keys are held. */
  leading(keys: readonly string[]): number {
    const miss = keys.findIndex((key) => !this.has(key));
    return miss < 0 ? keys.length : miss;
  }
  pinned(key: string): boolean {
    return this.leases.some((lease) => lease.keys.includes(key));
  }
  touch(keys: readonly string[]): void {
    for (const key of [...keys].reverse()) {
      const block = this.order.find((other) => other.key === key);
      if (block) this.order = [...this.order.filter((other) => other !== block), block];
    }
  }
  end(id: string): void {
    const lease = this.leases.find((other) => other.id === id);
    this.leases = this.leases.filter((other) => other !== lease);
    if (lease) this.touch(lease.keys.filter((key) => !this.pinned(key)));
  }
  advance(now: number): void {
    for (const lease of this.leases.filter((other) => other.endsAt <= now).sort((a, b) => a.endsAt - b.endsAt)) this.end(lease.id);
  }
  putChain(blocks: readonly KvBlock[]): number {
    let count = 0;
    const mine = new Set<string>();
    for (const block of blocks) {
      if (!this.has(block.key)) {
        if (block.bytes.length > this.#capacity) break;
        for (;;) {
          const used = this.order.reduce((sum, other) => sum + other.bytes.length, 0);
          if (used + block.bytes.length <= this.#capacity) break;
          const victim = this.order.find((other) => !this.pinned(other.key) && !mine.has(other.key));
          if (!victim) break;
          this.order = this.order.filter((other) => other !== victim);
        }
        const used = this.order.reduce((sum, other) => sum + other.bytes.length, 0);
        if (used + block.bytes.length > this.#capacity) break;
        this.order.push(block);
      }
      mine.add(block.key);
      count += 1;
    }
    this.touch(keysOf(blocks.slice(0, count)));
    return count;
  }
}

const chainNumber = fc.nat(3);
const step = fc.oneof(
  fc.record({
    type: fc.constant('put' as const),
    chain: chainNumber,
    length: fc.integer({ min: 1, max: 5 }),
    bytes: fc.constantFrom(60, 100, 250),
  }),
  fc.record({ type: fc.constant('get' as const), chain: chainNumber, index: fc.nat(4) }),
  fc.record({ type: fc.constant('match' as const), chain: chainNumber, length: fc.nat(5) }),
  fc.record({ type: fc.constant('lease' as const), chain: chainNumber, length: fc.nat(5), ttlMs: fc.constantFrom(10, 25, 40) }),
  fc.record({ type: fc.constant('renew' as const), lease: fc.nat(12) }),
  fc.record({ type: fc.constant('release' as const), lease: fc.nat(12) }),
  fc.record({ type: fc.constant('wait' as const), ms: fc.constantFrom(1, 7, 30) }),
);

it('behaves like the model in any history', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, timersRun) => {
      // Without timers only lazy expiry is left, and must do as well.
      const fake = new FakeClock();
      const clock = timersRun ? fake : { now: () => fake.now(), wall: () => 0, after: () => () => {} };
      let ids = 0;
      const tier = new HostTier({ capacityBytes: 700, clock, maxLeases: 4, newLeaseId: () => `lease-${++ids}` });
      const model = new Model(700);
      const told = new Set<string>();
      tier.onChange((change) => {
        if (change.type === 'cleared') return told.clear();
        for (const key of change.removed) expect(told.delete(key)).toBe(true);
        for (const key of change.stored) told.add(key);
      });
      for (const act of steps) {
        switch (act.type) {
          case 'put': {
            const blocks = Array.from({ length: act.length }, (_, index) => blockOf(act.chain, index, act.bytes));
            expect(tier.putChain(blocks)).toBe(model.putChain(blocks));
            break;
          }
          case 'get': {
            const key = keyOf(act.chain, act.index);
            expect(tier.get(key)).toBe(model.order.find((block) => block.key === key) ?? null);
            if (!model.pinned(key)) model.touch([key]);
            break;
          }
          case 'match': {
            const chain = chainOf(act.chain, act.length);
            const count = model.leading(keysOf(chain));
            expect(tier.matchPrefix(keysOf(chain), promptOf(chain))).toBe(count);
            model.touch(keysOf(chain.slice(0, count)).filter((key) => !model.pinned(key)));
            break;
          }
          case 'lease': {
            const keys = keysOf(chainOf(act.chain, act.length));
            const leading = keys.slice(0, model.leading(keys));
            const lease = tier.lease(keys, act.ttlMs);
            expect(lease?.keys ?? null).toEqual(leading.length > 0 && model.leases.length < 4 ? leading : null);
            if (lease) model.leases.push({ id: lease.id, keys: leading, ttlMs: act.ttlMs, endsAt: fake.now() + act.ttlMs });
            break;
          }
          case 'renew': {
            const lease = model.leases.find((other) => other.id === `lease-${act.lease}`);
            expect(tier.renew(`lease-${act.lease}`)).toBe(lease !== undefined);
            if (lease) lease.endsAt = fake.now() + lease.ttlMs;
            break;
          }
          case 'release':
            expect(tier.release(`lease-${act.lease}`)).toBe(model.leases.some((lease) => lease.id === `lease-${act.lease}`));
            model.end(`lease-${act.lease}`);
            break;
          case 'wait':
            fake.advance(act.ms);
            model.advance(fake.now());
            expect(tier.leases).toBe(model.leases.length);
            break;
        }
        expect(tier.usedBytes).toBe(model.order.reduce((sum, block) => sum + block.bytes.length, 0));
        expect(tier.usedBytes).toBeLessThanOrEqual(700);
        expect([...told].sort()).toEqual(keysOf(model.order).sort());
        for (const lease of model.leases) for (const key of lease.keys) expect(tier.has(key)).toBe(true);
      }
    }),
    { numRuns: 300 },
  );
});
