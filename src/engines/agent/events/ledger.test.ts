import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { blockKeys, chainSeed, type KvEvent, type KvEventEnvelope, type KvIdentity, type KvSnapshot, keyHex } from '../../../kv/index.ts';
import { decodeBatch } from './decode.ts';
import type { BlockStored, CacheEvent, ExtraKey, HeldTier } from './event.ts';
import { BlockLedger, type BlockLedgerOptions } from './ledger.ts';
import { recordedFrames } from './recorded.fixture.ts';

const IDENTITY: KvIdentity = {
  model: 'tiny',
  revision: 'main',
  tokenizer: 'sha256:2233',
  rope: '10000/1/64',
  adapter: '',
  dtype: 'bfloat16',
  layout: 'vllm/nhd',
  blockTokens: 32,
};
const SMALL: KvIdentity = { ...IDENTITY, blockTokens: 2 };

/** Names of the full blocks of a prompt, as a router makes them. */
function names(tokens: readonly number[], identity = SMALL, salt = ''): string[] {
  const words = blockKeys(chainSeed(identity, salt), Int32Array.from(tokens), identity.blockTokens);
  return Array.from({ length: words.length / 4 }, (_, index) => keyHex(words, index));
}

function stored(hashes: readonly number[], tokens: readonly number[], more: Partial<BlockStored> = {}): BlockStored {
  return {
    type: 'stored',
    hashes: hashes.map(BigInt),
    parent: null,
    tokens: Int32Array.from(tokens),
    blockTokens: 2,
    adapter: null,
    isAdapted: false,
    extraKeys: null,
    salt: null,
    tier: 'hbm',
    group: 0,
    groupKind: 'full_attention',
    ...more,
  };
}

function removed(hashes: readonly number[], tier: HeldTier = 'hbm', group: number | null = 0): CacheEvent {
  return { type: 'removed', hashes: hashes.map(BigInt), tier, group };
}

function text(value: string): ExtraKey {
  return { kind: 'text', text: value };
}

function ledgerOf(options: Partial<BlockLedgerOptions> = {}) {
  const ledger = new BlockLedger({ incarnation: 'one', identity: SMALL, ...options });
  const events: KvEventEnvelope[] = [];
  ledger.onEvent((envelope) => events.push(envelope));
  return { ledger, events, told: () => events.map(({ event }) => event) };
}

/** What someone who follows the events holds. */
function follow(events: readonly KvEvent[]): Record<string, string[]> {
  const held = new Map<string, Set<string>>();
  for (const event of events) {
    if (event.type === 'cleared') held.clear();
    else {
      const keys = held.get(event.tier) ?? new Set();
      held.set(event.tier, keys);
      for (const key of event.keys) {
        if (event.type === 'stored') keys.add(key);
        else keys.delete(key);
      }
    }
  }
  return Object.fromEntries([...held].filter(([, keys]) => keys.size > 0).map(([tier, keys]) => [tier, [...keys].sort()]));
}

function sorted(snapshot: KvSnapshot): Record<string, string[]> {
  return Object.fromEntries(Object.entries(snapshot.tiers).map(([tier, keys]) => [tier, [...keys].sort()]));
}

/** Prompts of the recordings in fixtures/. */
function prompt(length: number, number: number): number[] {
  return Array.from({ length }, (_, index) => ((index * 7 + number * 13) % 200) + 1);
}

describe('BlockLedger on what a real vLLM sent', () => {
  function replayed(name: string) {
    const all = ledgerOf({ identity: IDENTITY });
    for (const frames of recordedFrames(name)) all.ledger.apply(decodeBatch(frames[2] as Buffer).events);
    return all;
  }

  it('gives every block the name that a router gives it', () => {
    const { ledger } = replayed('kv-events-prefill.jsonl');
    const held = new Set(ledger.snapshot().tiers.hbm);
    for (const [length, number] of [
      [224, 1],
      [160, 3],
      [320, 40],
      [320, 41],
      [320, 42],
      [320, 43],
      [320, 44],
    ] as const) {
      const keys = names(prompt(length, number), IDENTITY);
      expect(keys.length).toBe(length / 32);
      expect(keys.filter((key) => !held.has(key))).toEqual([]);
    }
    expect(ledger.stats).toMatchObject({ nameless: 0, unknownParent: 0, misfit: 0, otherSize: 0, otherGroup: 0 });
  });

  it('gives salted blocks names of their own', () => {
    const { ledger } = replayed('kv-events-prefill.jsonl');
    const held = new Set(ledger.snapshot().tiers.hbm);
    const salted = names(prompt(224, 1), IDENTITY, 'tenant-a');
    expect(salted.filter((key) => held.has(key))).toEqual(salted);
    expect(names(prompt(224, 1), IDENTITY, 'tenant-b').some((key) => held.has(key))).toBe(false);
  });

  it('names blocks that were pulled as the instance that computed them does', () => {
    const prefill = new Set(replayed('kv-events-prefill.jsonl').ledger.snapshot().tiers.hbm);
    const decode = replayed('kv-events-decode.jsonl').ledger.snapshot().tiers.hbm ?? [];
    const pulled = [40, 41, 42, 43, 44].flatMap((number) => names(prompt(320, number), IDENTITY));
    expect(decode).toEqual(expect.arrayContaining(pulled));
    expect(pulled.every((key) => prefill.has(key))).toBe(true);
    // What the decode instance generated came on top.
    expect(decode.length).toBe(pulled.length + 5);
  });

  /** Blocks held after each message of an instance that has room for 63: prompts, repeated prompts, evictions, a reset at the end. */
  function heldDuringEviction(room: number, withReport: boolean): number[] {
    const { ledger } = ledgerOf({ identity: IDENTITY });
    if (room > 0) ledger.limitHbm(room);
    return recordedFrames('kv-events-eviction.jsonl').map((frames, seq) => {
      const { events } = decodeBatch(frames[2] as Buffer);
      // In message 6 a request had asked for a report of the blocks that it found: its first event announces six known ones.
      ledger.apply(seq === 6 && !withReport ? events.slice(1) : events);
      return ledger.held.hbm;
    });
  }

  it('follows evictions to the block, though blocks were held twice and thrice', () => {
    const held = [7, 7, 14, 19, 20, 21, 21, 31, 41, 51, 61, 63, 63, 63, 63, 2];
    expect(heldDuringEviction(0, false)).toEqual(held);
    expect(heldDuringEviction(64, false)).toEqual(held);
  });

  it('is not led astray by a report of known blocks when it knows how many fit', () => {
    expect(Math.max(...heldDuringEviction(0, true))).toBe(69);
    expect(heldDuringEviction(64, true).slice(-5)).toEqual([61, 63, 63, 63, 2]);
  });

  it('reads the older recording whole', () => {
    const { ledger, told } = replayed('kv-events.jsonl');
    // 7 + 1 + 1 of one prompt, 7 + 1 of the salted one, 3 of the one with a parent of its own.
    expect(ledger.held.hbm).toBe(20);
    expect(follow(told())).toEqual(sorted(ledger.snapshot()));
  });
});

describe('BlockLedger', () => {
  it('goes on from a parent', () => {
    const { ledger, told } = ledgerOf();
    ledger.apply([stored([1, 2], [1, 2, 3, 4]), stored([3], [5, 6], { parent: 2n })]);
    const keys = names([1, 2, 3, 4, 5, 6]);
    expect(told()).toEqual([{ type: 'stored', tier: 'hbm', keys }]);
    expect(ledger.snapshot()).toEqual({ incarnation: 'one', seq: 1, tiers: { hbm: keys } });
  });

  it('goes on from a parent that is gone from HBM but held elsewhere', () => {
    const { ledger } = ledgerOf();
    ledger.apply([stored([1], [1, 2]), stored([1], [], { tier: 'host', blockTokens: 0 }), removed([1])]);
    ledger.apply([stored([2], [3, 4], { parent: 1n })]);
    const keys = names([1, 2, 3, 4]);
    expect(ledger.snapshot().tiers).toEqual({ host: [keys[0]], hbm: [keys[1]] });
  });

  it('holds a block until its last copy is gone, in each tier for itself', () => {
    const { ledger, told } = ledgerOf();
    const [key] = names([1, 2]);
    ledger.apply([stored([1], [1, 2]), stored([1], [1, 2]), stored([1], [1, 2], { tier: 'store' })]);
    ledger.apply([removed([1])]);
    expect(ledger.held).toEqual({ hbm: 1, host: 0, store: 1 });
    ledger.apply([removed([1]), removed([1])]);
    expect(told().at(-1)).toEqual({ type: 'removed', tier: 'hbm', keys: [key] });
    expect(ledger.snapshot().tiers).toEqual({ store: [key] });
    ledger.apply([removed([1], 'store')]);
    expect(ledger.snapshot().tiers).toEqual({});
  });

  it('takes the adapter and the salt of the first block into the names', () => {
    const { ledger } = ledgerOf();
    const extraKeys = [[text('poet'), text('tenant')], [text('poet')]];
    ledger.apply([stored([1, 2], [1, 2, 3, 4], { adapter: 'poet', isAdapted: true, extraKeys })]);
    ledger.apply([stored([3], [5, 6], { parent: 2n, adapter: 'poet', isAdapted: true, extraKeys: [[text('poet')]] })]);
    expect(ledger.snapshot().tiers.hbm).toEqual(names([1, 2, 3, 4, 5, 6], { ...SMALL, adapter: 'poet' }, 'tenant'));
  });

  it('takes a salt that is told for all blocks into the names, over several events', () => {
    const { ledger } = ledgerOf();
    ledger.apply([stored([1], [1, 2], { salt: 'a' }), stored([2], [3, 4], { parent: 1n, salt: 'a' })]);
    expect(ledger.snapshot().tiers).toEqual({ hbm: names([1, 2, 3, 4], SMALL, 'a') });
  });

  it('takes an adapter name that nobody lists for the name, not for a salt', () => {
    const { ledger } = ledgerOf();
    ledger.apply([stored([1], [1, 2], { adapter: 'poet', isAdapted: true, extraKeys: [[text('poet')]] })]);
    ledger.apply([stored([2], [1, 2], { adapter: 'poet', isAdapted: true })]);
    const [key] = names([1, 2], { ...SMALL, adapter: 'poet' });
    expect(ledger.snapshot().tiers.hbm).toEqual([key, key]);
  });

  it('keeps the adapter of the identity when the event names none', () => {
    const identity = { ...SMALL, adapter: 'built in' };
    const { ledger } = ledgerOf({ identity });
    ledger.apply([stored([1], [1, 2])]);
    expect(ledger.snapshot().tiers.hbm).toEqual(names([1, 2], identity));
  });

  it.each<[string, Partial<BlockStored>]>([
    ['an image in the first block', { extraKeys: [[{ kind: 'opaque' }], []] }],
    ['an image and a salt', { extraKeys: [[{ kind: 'opaque' }, text('salt')], []] }],
    ['a salt and a digest of embeddings', { extraKeys: [[text('salt'), { kind: 'opaque' }], []] }],
    ['two texts', { extraKeys: [[text('one'), text('two')], []] }],
    ['an adapter without a name', { isAdapted: true }],
  ])('gives no name to a chain with %s, nor to what continues it', (_, more) => {
    const { ledger, told } = ledgerOf();
    ledger.apply([stored([1, 2], [1, 2, 3, 4], more), stored([3], [5, 6], { parent: 2n })]);
    expect([told(), ledger.snapshot().tiers, ledger.stats.nameless]).toEqual([[], {}, 3]);
    ledger.apply([removed([1, 2, 3])]);
    expect(told()).toEqual([]);
  });

  it('names the blocks before an image and none from there on', () => {
    const { ledger } = ledgerOf();
    ledger.apply([stored([1, 2, 3], [1, 2, 3, 4, 5, 6], { extraKeys: [[text('salt')], [{ kind: 'opaque' }], []] })]);
    ledger.apply([stored([4], [7, 8], { parent: 3n }), stored([5], [3, 4], { parent: 1n, extraKeys: [[text('salt')]] })]);
    expect(ledger.snapshot().tiers.hbm).toEqual(names([1, 2], SMALL, 'salt'));
    expect(ledger.stats.nameless).toBe(4);
  });

  it('gives no name to what continues an unknown block, but hears of it again', () => {
    const { ledger } = ledgerOf();
    ledger.apply([stored([2, 3], [3, 4, 5, 6], { parent: 1n })]);
    expect([ledger.snapshot().tiers, ledger.stats.unknownParent]).toEqual([{}, 2]);
    ledger.apply([stored([1], [1, 2]), stored([2], [3, 4], { parent: 1n })]);
    expect(ledger.snapshot().tiers.hbm).toEqual(names([1, 2, 3, 4]));
  });

  it('finds a block by its hash alone where it is known', () => {
    const { ledger } = ledgerOf();
    ledger.apply([stored([1], [1, 2]), stored([1, 9], [], { tier: 'store', blockTokens: 0, group: null, groupKind: null })]);
    expect(ledger.snapshot().tiers).toEqual({ hbm: names([1, 2]), store: names([1, 2]) });
    expect(ledger.stats.unknownHash).toBe(1);
  });

  it('leaves out and counts blocks of another size and events that do not add up', () => {
    const { ledger, told } = ledgerOf();
    ledger.apply([stored([1], [1, 2, 3], { blockTokens: 3 }), stored([1, 2], [1, 2]), stored([1], [1, 2, 3, 4])]);
    expect([told(), ledger.stats.otherSize, ledger.stats.misfit]).toEqual([[], 1, 2]);
  });

  it('follows one cache group, the first that keeps whole prompts', () => {
    const { ledger } = ledgerOf();
    const window = { group: 0, groupKind: 'sliding_window' };
    const full = { group: 1, groupKind: 'full_attention' };
    ledger.apply([stored([1, 2], [1, 2, 3, 4], window), stored([1, 2], [1, 2, 3, 4], full), stored([1], [1, 2], { ...full, group: 2 })]);
    const keys = names([1, 2, 3, 4]);
    expect(ledger.snapshot().tiers.hbm).toEqual(keys);
    expect(ledger.stats.otherGroup).toBe(3);
    ledger.apply([removed([1, 2], 'hbm', 0), removed([1], 'hbm', 2)]);
    expect(ledger.held.hbm).toBe(2);
    ledger.apply([removed([2], 'hbm', 1)]);
    expect(ledger.snapshot().tiers.hbm).toEqual([keys[0]]);
  });

  it('does not choose the group by an event that only says where blocks are', () => {
    const { ledger } = ledgerOf();
    ledger.apply([stored([1], [], { tier: 'store', blockTokens: 0, group: 0, groupKind: null })]);
    ledger.apply([stored([1], [1, 2], { group: 1 })]);
    expect(ledger.held.hbm).toBe(1);
  });

  it('forgets all when told so, once', () => {
    const { ledger, told } = ledgerOf();
    ledger.apply([stored([1], [1, 2]), { type: 'cleared' }, { type: 'cleared' }, stored([1], [3, 4])]);
    expect(told().map(({ type }) => type)).toEqual(['stored', 'cleared', 'stored']);
    expect(ledger.snapshot().tiers.hbm).toEqual(names([3, 4]));
  });

  it('tells removals of one message in one event', () => {
    const { ledger, told } = ledgerOf();
    ledger.apply([stored([1, 2, 3], [1, 2, 3, 4, 5, 6])]);
    ledger.apply([removed([3]), removed([2]), removed([7])]);
    const keys = names([1, 2, 3, 4, 5, 6]);
    expect(told().slice(1)).toEqual([{ type: 'removed', tier: 'hbm', keys: [keys[2], keys[1]] }]);
  });

  it('knows a limited number of blocks', () => {
    const { ledger } = ledgerOf({ maxBlocks: 2 });
    ledger.apply([stored([1, 2, 3], [1, 2, 3, 4, 5, 6])]);
    expect([ledger.held.hbm, ledger.stats.overLimit]).toEqual([2, 1]);
    ledger.apply([removed([1]), stored([4], [7, 8])]);
    expect(ledger.held.hbm).toBe(2);
  });

  it('does not believe in more copies than there is room for', () => {
    const { ledger } = ledgerOf();
    ledger.limitHbm(3);
    ledger.apply([stored([1, 2], [1, 2, 3, 4])]);
    // A request that asks for a full report has the blocks it found announced again.
    for (let report = 0; report < 2; report++) ledger.apply([stored([1, 2], [1, 2, 3, 4])]);
    expect(ledger.stats.overCapacity).toBe(2);
    ledger.apply([removed([1]), removed([2])]);
    expect(ledger.held.hbm).toBe(0);
  });

  it('starts anew when there are more blocks than there is room for', () => {
    const { ledger, told } = ledgerOf();
    ledger.limitHbm(2);
    ledger.apply([stored([1, 2, 3], [1, 2, 3, 4, 5, 6])]);
    expect([ledger.held.hbm, told().at(-1)]).toEqual([0, { type: 'cleared' }]);
  });

  it('stops telling who left', () => {
    const { ledger } = ledgerOf();
    let count = 0;
    const stop = ledger.onEvent(() => {
      count += 1;
    });
    ledger.apply([stored([1], [1, 2])]);
    stop();
    ledger.apply([stored([2], [3, 4])]);
    expect(count).toBe(1);
  });

  it('names a wrong option', () => {
    expect(() => ledgerOf({ maxBlocks: 0 })).toThrow('maxBlocks: expected an integer of 1 or more, got 0');
    expect(() => ledgerOf({ identity: { ...SMALL, blockTokens: 0 } })).toThrow('identity.blockTokens');
  });

  it('tells in dense events what its snapshot says, whatever an engine sends', () => {
    const hash = fc.integer({ min: 1, max: 12 });
    const tier = fc.constantFrom<HeldTier>('hbm', 'host', 'store');
    const group = fc.constantFrom(null, 0, 1);
    const store = fc
      .record({
        hashes: fc.uniqueArray(hash, { minLength: 1, maxLength: 4 }),
        parent: fc.option(hash),
        tier,
        group,
        odd: fc.integer({ min: 0, max: 9 }),
      })
      .map(({ hashes, parent, odd, ...more }): CacheEvent => {
        const tokens = odd === 0 ? [] : hashes.flatMap((value) => [value, value]);
        const extraKeys = odd === 1 ? hashes.map((): ExtraKey[] => [{ kind: 'opaque' }]) : null;
        return stored(hashes, tokens, { ...more, parent: parent === null ? null : BigInt(parent), extraKeys });
      });
    const remove = fc
      .tuple(fc.array(hash, { maxLength: 3 }), tier, group)
      .map(([hashes, from, of]): CacheEvent => removed(hashes, from, of));
    const clear = fc.constant<CacheEvent>({ type: 'cleared' });
    const event = fc.oneof({ weight: 6, arbitrary: store }, { weight: 6, arbitrary: remove }, { weight: 1, arbitrary: clear });
    fc.assert(
      fc.property(fc.array(fc.array(event, { maxLength: 4 }), { maxLength: 30 }), fc.integer({ min: 4, max: 30 }), (batches, room) => {
        const { ledger, events, told } = ledgerOf({ maxBlocks: 10 });
        ledger.limitHbm(room);
        for (const batch of batches) ledger.apply(batch);
        expect(follow(told())).toEqual(
          Object.fromEntries(Object.entries(sorted(ledger.snapshot())).map(([at, keys]) => [at, [...new Set(keys)]])),
        );
        expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1));
        expect(ledger.snapshot().seq).toBe(events.length);
      }),
      { numRuns: 500 },
    );
  });
});
