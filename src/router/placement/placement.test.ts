import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FREE_COSTS } from '../../api/facts/index.ts';
import { prefillMs, pullMs, stepMs } from '../../engines/costs/index.ts';
import type { EngineCosts } from '../../engines/index.ts';
import { type Candidate, type InstanceView, MAX_CANDIDATES, type PlacementRequest, type Terms, totalOf, ttftOf } from './decision.ts';
import { largestGap, nameOf, place } from './place.ts';

const COSTS: EngineCosts = {
  prefillFixed: 2,
  prefillPerToken: 0.1,
  prefillPerTokenContext: 0.00001,
  stepFixed: 5,
  stepPerSequence: 0.2,
  stepPerContextToken: 0.0001,
  pullFixed: 1,
  pullPerMiB: 0.5,
};

function instance(id: string, role: InstanceView['role'], change: Partial<InstanceView> = {}): InstanceView {
  return {
    id,
    role,
    costs: COSTS,
    maxSequences: 16,
    running: 0,
    pendingPrefillTokens: 0,
    contextTokens: 0,
    storePrice: null,
    storeAheadMs: 0,
    ...change,
  };
}

function ask(instances: readonly InstanceView[], change: Partial<PlacementRequest> = {}): PlacementRequest {
  const held = instances.map(() => 0);
  const sizes = { promptTokens: 1000, maxTokens: 100, blockTokens: 16, bytesPerBlock: 16_384 };
  return {
    ...sizes,
    instances,
    held,
    stored: instances.map(() => 0),
    pullMs: 5_000,
    spread: 0,
    pairOnly: false,
    decodesAlone: true,
    ...change,
  };
}

function chosen(request: PlacementRequest): Candidate {
  const decision = place(request);
  if (!decision) throw new Error('nothing was chosen');
  return decision.chosen;
}

const POOLS = [instance('p0', 'prefill'), instance('p1', 'prefill'), instance('d0', 'decode'), instance('d1', 'decode')];

describe('prices', () => {
  it('follow the formulas of the engine port', () => {
    expect(prefillMs(COSTS, 100, 50)).toBeCloseTo(2 + 10 + 0.00001 * 100 * 100);
    expect(prefillMs(COSTS, 0, 50)).toBe(0);
    expect(stepMs(COSTS, 4, 1000)).toBeCloseTo(5 + 0.8 + 0.1);
    expect(pullMs(COSTS, 2 * 2 ** 20)).toBeCloseTo(2);
    expect(pullMs(COSTS, 0)).toBe(0);
  });
});

describe('place', () => {
  it('has no answer without an instance that decodes', () => {
    expect(place(ask([]))).toBeNull();
    expect(place(ask([instance('p0', 'prefill')]))).toBeNull();
  });

  it('leaves long prompts to the prefill pool and short ones to the decode instance', () => {
    expect(nameOf(chosen(ask(POOLS)))).toBe('p0 → d0');
    expect(chosen(ask(POOLS, { promptTokens: 12 })).prefill).toBeNull();
  });

  it('leaves a short prompt to a pair too where decode instances do not prefill', () => {
    const decision = place(ask(POOLS, { promptTokens: 12, decodesAlone: false }));
    expect([decision?.chosen.prefill, decision?.considered]).toEqual([expect.stringMatching(/^p/), 4]);
    expect(place(ask(POOLS.slice(2), { decodesAlone: false }))).toBeNull();
    const mixed = [...POOLS, instance('m0', 'mixed')];
    expect(chosen(ask(mixed, { promptTokens: 12, decodesAlone: false })).decode).toBe('m0');
  });

  it('has the decode instance do it alone when it has the conversation', () => {
    const held = [0, 0, 0, 60];
    expect(chosen(ask(POOLS, { held }))).toMatchObject({ prefill: null, decode: 'd1', cachedBlocks: 60 });
  });

  it('prefers the prefill instance that has the prefix, and the decode instance that lacks least', () => {
    const mixed = [instance('p0', 'prefill'), instance('p1', 'prefill'), instance('d0', 'decode'), instance('d1', 'decode')];
    const decision = chosen(ask(mixed, { held: [0, 40, 0, 8] }));
    expect(nameOf(decision)).toBe('p1 → d1');
    expect(decision).toMatchObject({ cachedBlocks: 40, pulledBlocks: 54 });
  });

  it('goes round a queue, a full instance and streams that would be stalled', () => {
    const busyPrefill = [instance('p0', 'prefill', { pendingPrefillTokens: 5000 }), ...POOLS.slice(1)];
    expect(chosen(ask(busyPrefill)).prefill).toBe('p1');
    const full = [POOLS[0], instance('d0', 'decode', { running: 16 }), POOLS[3]].filter((each) => each !== undefined);
    expect(chosen(ask(full)).decode).toBe('d1');
    const streams = [instance('d0', 'decode', { running: 3 }), instance('d1', 'decode')];
    expect(chosen(ask(streams)).decode).toBe('d1');
  });

  it('takes equals in turn', () => {
    const idle = ['m0', 'm1', 'm2'].map((id) => instance(id, 'mixed', { costs: FREE_COSTS }));
    expect([0, 1, 2].map((spread) => chosen(ask(idle, { spread })).decode)).toEqual(['m0', 'm1', 'm2']);
    const oneBusy = [instance('m0', 'mixed', { costs: FREE_COSTS, running: 1 }), ...idle.slice(1)];
    expect(chosen(ask(oneBusy)).decode).toBe('m1');
  });

  it('takes the whole way for a probe while there is one', () => {
    expect(chosen(ask(POOLS, { promptTokens: 12, pairOnly: true })).prefill).toBe('p0');
    expect(chosen(ask([instance('m0', 'mixed')], { pairOnly: true })).decode).toBe('m0');
  });

  it('says why the next one lost', () => {
    const decision = place(ask([instance('d0', 'decode'), instance('d1', 'decode', { pendingPrefillTokens: 3000 })]));
    expect(decision?.why).toMatch(/^\d+\.\d ms better than d1 alone, most of it queue$/);
    const [first, second] = decision?.candidates ?? [];
    expect(first && second && largestGap(first, second)).toBe('queueMs');
    expect(place(ask([instance('d0', 'decode')]))?.why).toBe('the only choice');
  });
});

describe('what the store has', () => {
  // 62 blocks of 16 KiB: about a MiB, read in a few milliseconds where computing takes a hundred.
  const DISK = { fixedMs: 1, msPerMiB: 2, copyMs: 0.2 };
  const SLOW_DISK = { fixedMs: 1, msPerMiB: 500, copyMs: 0.2 };
  const of = (id: string, role: InstanceView['role'], change: Partial<InstanceView> = {}) =>
    instance(id, role, { storePrice: DISK, ...change });

  it('is read where that is faster than computing it, and counts as what it costs', () => {
    const read = chosen(ask([of('m0', 'mixed')], { stored: [60] }));
    expect(read).toMatchObject({ cachedBlocks: 0, storedBlocks: 60 });
    // Two copies of 512 KiB at most.
    expect(read.terms.onboardMs).toBeCloseTo(1 + 2 * (60 / 64) + 0.2, 6);
    expect(read.terms.prefillMs).toBeCloseTo(prefillMs(COSTS, 40, 960), 6);
    const computed = chosen(ask([of('m0', 'mixed', { storePrice: SLOW_DISK })], { stored: [60] }));
    expect(computed).toMatchObject({ storedBlocks: 0, terms: { onboardMs: 0 } });
    expect(computed.terms.prefillMs).toBeCloseTo(prefillMs(COSTS, 1000, 0), 6);
  });

  it.each([
    ['nobody can be asked', { storePrice: null }, {}],
    ['it would not be there in time', {}, { pullMs: 2 }],
    ['it is here already', {}, { held: [62], stored: [1] }],
  ])('is not counted on when %s', (_, change, request) => {
    expect(chosen(ask([of('m0', 'mixed', change)], { stored: [60], ...request })).storedBlocks).toBe(0);
  });

  it('counts behind what the instance has', () => {
    const read = chosen(ask([of('m0', 'mixed')], { held: [30], stored: [30] }));
    expect(read).toMatchObject({ cachedBlocks: 30, storedBlocks: 30 });
    expect(read.terms.onboardMs).toBeCloseTo(1 + 2 * (30 / 64), 6);
  });

  it('sends a prompt to the instance whose store has it', () => {
    const four = ['m0', 'm1', 'm2', 'm3'].map((id) => of(id, 'mixed'));
    for (const spread of [0, 1, 2, 3]) expect(chosen(ask(four, { stored: [0, 0, 60, 0], spread })).decode).toBe('m2');
    // Not past a queue that costs more than computing.
    const busy = four.map((each) => (each.id === 'm2' ? { ...each, pendingPrefillTokens: 3000 } : each));
    expect(chosen(ask(busy, { stored: [0, 0, 60, 0] })).decode).not.toBe('m2');
  });

  it('makes a decode instance do alone what would be handed over', () => {
    const pools = [of('p0', 'prefill'), of('d0', 'decode')];
    expect(nameOf(chosen(ask(pools)))).toBe('p0 → d0');
    expect(nameOf(chosen(ask(pools, { stored: [60, 60] })))).toBe('d0 alone');
    expect(nameOf(chosen(ask(pools, { stored: [60, 60], decodesAlone: false })))).toBe('p0 → d0');
  });

  it('costs no more than the queue that it is read in', () => {
    const slow = { fixedMs: 20, msPerMiB: 2, copyMs: 0 };
    const idle = chosen(ask([of('m0', 'mixed', { storePrice: slow })], { stored: [60] }));
    const queued = chosen(ask([of('m0', 'mixed', { storePrice: slow, pendingPrefillTokens: 400 })], { stored: [60] }));
    expect(idle.terms.onboardMs).toBeCloseTo(20 + 2 * (60 / 64), 6);
    expect(queued).toMatchObject({ storedBlocks: 60, terms: { onboardMs: 0 } });
    const full = { running: 16, maxSequences: 16, storePrice: slow };
    expect(chosen(ask([of('m0', 'mixed', full)], { stored: [60] }))).toMatchObject({ storedBlocks: 60, terms: { onboardMs: 0 } });
  });

  it('waits for what is read before, and is computed where that takes longer', () => {
    const behind = (storeAheadMs: number, pendingPrefillTokens = 0) =>
      chosen(ask([of('m0', 'mixed', { storeAheadMs, pendingPrefillTokens })], { stored: [60] }));
    const readMs = 1 + 2 * (60 / 64) + 0.2;
    expect(behind(30).terms.onboardMs).toBeCloseTo(30 + readMs, 6);
    // 300 tokens before it take 32.45 ms.
    expect(behind(30, 300).terms.onboardMs).toBeCloseTo(30 + readMs - prefillMs(COSTS, 300, 0), 6);
    expect(behind(40, 300).terms.onboardMs).toBeCloseTo(40 + readMs - prefillMs(COSTS, 300, 0), 6);
    expect(behind(400).storedBlocks).toBe(0);
    expect(behind(400, 1500).storedBlocks).toBe(60);
  });

  it('is left to the peer where pulling is faster, and read instead of pulled where it is not', () => {
    const pair = (pullPerMiB: number) =>
      chosen(ask([of('p0', 'prefill'), of('d0', 'decode', { costs: { ...COSTS, pullPerMiB } })], { stored: [0, 62], pairOnly: true }));
    expect(pair(0.5).terms.transferMs).toBeCloseTo(1 + pullMs({ ...COSTS, pullPerMiB: 0.5 }, 62 * 16_384), 6);
    expect(pair(100).terms.transferMs).toBeCloseTo(1 + 1 + 2 * (62 / 64) + 0.2, 6);
    expect(pair(100).pulledBlocks).toBe(62);
  });
});

const cost = fc.double({ min: 0, max: 50, noNaN: true });
const costs = fc.record({
  prefillFixed: cost,
  prefillPerToken: fc.double({ min: 0, max: 1, noNaN: true }),
  prefillPerTokenContext: fc.double({ min: 0, max: 0.001, noNaN: true }),
  stepFixed: cost,
  stepPerSequence: cost,
  stepPerContextToken: fc.double({ min: 0, max: 0.01, noNaN: true }),
  pullFixed: cost,
  pullPerMiB: cost,
});
const view = fc.record({
  role: fc.constantFrom('prefill' as const, 'decode' as const, 'mixed' as const),
  costs,
  maxSequences: fc.integer({ min: 1, max: 64 }),
  running: fc.nat(100),
  pendingPrefillTokens: fc.nat(20_000),
  contextTokens: fc.nat(100_000),
  storeAheadMs: cost,
  storePrice: fc.option(fc.record({ fixedMs: cost, msPerMiB: cost, copyMs: fc.double({ min: 0, max: 5, noNaN: true }) })),
});
const pool = fc.array(view, { minLength: 1, maxLength: 12 }).map((views) => views.map((each, index) => ({ ...each, id: `i${index}` })));
const request = fc
  .record({
    instances: pool,
    held: fc.array(fc.nat(300), { minLength: 12, maxLength: 12 }),
    stored: fc.array(fc.nat(300), { minLength: 12, maxLength: 12 }),
    pullMs: fc.integer({ min: 1, max: 10_000 }),
    promptTokens: fc.nat(5000),
    maxTokens: fc.integer({ min: 1, max: 100_000 }),
    blockTokens: fc.constantFrom(8, 16, 32, 64),
    bytesPerBlock: fc.integer({ min: 1, max: 1 << 20 }),
    spread: fc.nat(1000),
    pairOnly: fc.boolean(),
    decodesAlone: fc.boolean(),
  })
  .map((each): PlacementRequest => each);

/** Where others read first the engine reads though computing might be sooner for this one prompt. */
function readByNobody(asked: PlacementRequest): PlacementRequest {
  return { ...asked, instances: asked.instances.map((each) => ({ ...each, storeAheadMs: 0 })) };
}

/** Every pair and every instance alone, priced one by one: what the separable search must find the best of. */
function naiveBest(asked: PlacementRequest): number {
  const decoders = asked.instances.filter((each) => each.role !== 'prefill');
  const prefills = asked.instances.filter((each) => each.role === 'prefill');
  const only = (kept: readonly InstanceView[], pairOnly: boolean) => {
    const held = kept.map((each) => asked.held[asked.instances.indexOf(each)] ?? 0);
    const stored = kept.map((each) => asked.stored[asked.instances.indexOf(each)] ?? 0);
    return place({ ...asked, instances: kept, held, stored, spread: 0, pairOnly })?.chosen.totalMs ?? Number.POSITIVE_INFINITY;
  };
  const alone = decoders.map((decode) => only([decode], false));
  const pairs = prefills.flatMap((prefill) =>
    decoders.filter((each) => each.role === 'decode').map((decode) => only([prefill, decode], true)),
  );
  return Math.min(...pairs, ...(asked.pairOnly && pairs.length > 0 ? [] : alone));
}

describe('place, of anything', () => {
  it('gives terms that are numbers from 0 up and add up to the total, best first, bounded', () => {
    fc.assert(
      fc.property(request, (asked) => {
        const decision = place(asked);
        if (decision === null) {
          const isHalf = (role: InstanceView['role']) => role === 'prefill' || (role === 'decode' && !asked.decodesAlone);
          expect(asked.instances.every(({ role }) => isHalf(role))).toBe(true);
          return;
        }
        expect(decision.candidates[0]).toBe(decision.chosen);
        expect(decision.candidates.length).toBeLessThanOrEqual(MAX_CANDIDATES);
        for (const [index, candidate] of decision.candidates.entries()) {
          for (const ms of Object.values(candidate.terms)) expect(Number.isFinite(ms) && ms >= 0).toBe(true);
          expect(candidate.totalMs).toBe(totalOf(candidate.terms));
          expect(candidate.ttftMs).toBe(ttftOf(candidate.terms));
          expect(candidate.totalMs).toBeGreaterThanOrEqual(decision.candidates[index - 1]?.totalMs ?? 0);
        }
      }),
    );
  });

  it('finds the best of all pairs', () => {
    fc.assert(
      fc.property(request, (asked) => {
        const decision = place(asked);
        if (decision) expect(decision.chosen.totalMs).toBeCloseTo(naiveBest(asked), 6);
      }),
      { numRuns: 60 },
    );
  });

  it('changes nothing that it is given and answers the same again', () => {
    fc.assert(
      fc.property(request, (asked) => {
        const before = JSON.stringify(asked);
        const first = place(asked);
        expect(JSON.stringify(asked)).toBe(before);
        expect(place(asked)).toEqual(first);
      }),
    );
  });

  it('is never dearer when an instance has more blocks', () => {
    fc.assert(
      fc.property(request, fc.nat(11), fc.nat(300), (given, where, more) => {
        const asked = readByNobody(given);
        const before = place(asked)?.chosen.totalMs ?? 0;
        const held = Array.from(asked.held).map((blocks, index) => (index === where ? blocks + more : blocks));
        const after = place({ ...asked, held })?.chosen.totalMs ?? 0;
        expect(after).toBeLessThanOrEqual(before * (1 + 1e-9) + 1e-9);
      }),
    );
  });

  it('is never dearer with a store that nobody else reads than without', () => {
    fc.assert(
      fc.property(request, (given) => {
        const asked = readByNobody(given);
        const without = place({ ...asked, stored: asked.instances.map(() => 0) })?.chosen.totalMs ?? 0;
        expect(place(asked)?.chosen.totalMs ?? 0).toBeLessThanOrEqual(without * (1 + 1e-9) + 1e-9);
      }),
    );
  });

  it('is never dearer with less work waiting', () => {
    fc.assert(
      fc.property(request, fc.nat(11), (given, where) => {
        const asked = readByNobody(given);
        const instances = asked.instances.map((each, index) => (index === where ? { ...each, pendingPrefillTokens: 0, running: 0 } : each));
        const before = place(asked)?.chosen.totalMs ?? 0;
        const after = place({ ...asked, instances })?.chosen.totalMs ?? 0;
        expect(after).toBeLessThanOrEqual(before * (1 + 1e-9) + 1e-9);
      }),
    );
  });
});

const NO_TERMS: Terms = { queueMs: 0, onboardMs: 0, prefillMs: 0, transferMs: 0, admitMs: 0, tailMs: 0, stallMs: 0, decodeMs: 0 };

describe('totals', () => {
  it('are the sum of the terms', () => {
    const terms = { ...NO_TERMS, queueMs: 1, onboardMs: 8, prefillMs: 2, transferMs: 3, admitMs: 4, tailMs: 5, stallMs: 6, decodeMs: 7 };
    expect(ttftOf(terms)).toBe(23);
    expect(totalOf(terms)).toBe(36);
  });
});
