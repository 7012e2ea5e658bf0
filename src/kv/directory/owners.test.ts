import fc from 'fast-check';
import { expect, it } from 'vitest';
import { KIND, type Kind, NOBODY, OwnerSets } from './owners.ts';

const WORDS = 2;
const KINDS: readonly Kind[] = [KIND.hbm, KIND.host, KIND.expected];
const ALL = new Uint32Array(WORDS).fill(0xffff_ffff);

function members(sets: OwnerSets, set: number): string[] {
  return KINDS.flatMap((kind) =>
    Array.from({ length: WORDS * 32 }, (_, slot) => slot)
      .filter((slot) => sets.has(set, kind, slot))
      .map((slot) => `${kind}@${slot}`),
  );
}

const change = fc.record({ slot: fc.constantFrom(0, 1, 31, 32, 63), kind: fc.constantFrom(...KINDS), holds: fc.boolean() });

it('become what changes make of them, and equal sets have one name', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(5), change), { maxLength: 80 }), (acts) => {
      const sets = new OwnerSets(WORDS, 0);
      // Six blocks, each with the set it names and what that should hold.
      const named = Array.from({ length: 6 }, (): number => NOBODY);
      const wanted = Array.from({ length: 6 }, () => new Set<string>());
      for (const [block, next] of acts) {
        const set = sets.changed(named[block] as number, next, ALL);
        sets.count(set, 1);
        sets.count(named[block] as number, -1);
        named[block] = set;
        const of = wanted[block] as Set<string>;
        of.delete(`${KIND.expected}@${next.slot}`);
        of.delete(`${next.kind}@${next.slot}`);
        if (next.holds) of.add(`${next.kind}@${next.slot}`);
        for (let index = 0; index < 6; index++) {
          expect(new Set(members(sets, named[index] as number))).toEqual(wanted[index]);
          for (let other = 0; other < index; other++) {
            const equal = [...(wanted[index] as Set<string>)].sort().join() === [...(wanted[other] as Set<string>)].sort().join();
            expect(named[index] === named[other]).toBe(equal);
          }
        }
      }
      expect(sets.length).toBeLessThanOrEqual(9);
    }),
    { numRuns: 200 },
  );
});

it('lose what is swept away, and tell how many blocks are left without owners', () => {
  const sets = new OwnerSets(WORDS, 0);
  const only = sets.changed(NOBODY, { slot: 40, kind: KIND.hbm, holds: true }, ALL);
  sets.count(only, 7);
  const both = sets.changed(only, { slot: 3, kind: KIND.host, holds: true }, ALL);
  sets.count(both, 2);
  const dead = Uint32Array.from([0, 1 << 8]);
  for (let set = 1; set < sets.length; set++) sets.scrub(set, dead);
  expect([sets.isEmptied(only), sets.isEmptied(both), sets.emptied]).toEqual([true, false, 7]);
  expect(members(sets, both)).toEqual([`${KIND.host}@3`]);
  const again = sets.changed(only, { slot: 3, kind: KIND.host, holds: true }, ALL);
  expect(again).toBe(both);
  sets.count(again, 5);
  sets.count(only, -5);
  expect(sets.emptied).toBe(2);
  sets.count(only, -2);
  expect(sets.emptied).toBe(0);
});

it('are no more than allowed, and room is made by giving one up', () => {
  const sets = new OwnerSets(WORDS, 0);
  let set: number = NOBODY;
  const made: number[] = [];
  // A Gray code: every step is one change and a set that was not there before.
  for (let step = 1; set >= 0 && step < 5000; step++) {
    const slot = 31 - Math.clz32(step & -step);
    set = sets.changed(set, { slot, kind: KIND.hbm, holds: !sets.has(set, KIND.hbm, slot) }, ALL);
    if (set > 0) {
      sets.count(set, 1);
      made.push(set);
    }
  }
  expect(made.length).toBe(1024);
  const bytes = sets.bytes;
  sets.count(made[100] as number, -1);
  const room = sets.changed(made[7] as number, { slot: 63, kind: KIND.host, holds: true }, ALL);
  expect(room).toBe(made[100]);
  expect(sets.bytes).toBe(bytes);
});

it.each([100_000, 123_456, 600_000])('take no more than %i bytes, and nearly as many', (maxBytes) => {
  const sets = new OwnerSets(WORDS, maxBytes);
  let last: number = NOBODY;
  for (let step = 1; last >= 0; step++) {
    const slot = 31 - Math.clz32(step & -step);
    last = sets.changed(last, { slot, kind: KIND.hbm, holds: !sets.has(last, KIND.hbm, slot) }, ALL);
    if (last >= 0) sets.count(last, 1);
  }
  expect(sets.bytes).toBeLessThanOrEqual(maxBytes);
  expect(sets.bytes).toBeGreaterThan(maxBytes * 0.75);
});

it('copy nothing of instances that are gone', () => {
  const sets = new OwnerSets(WORDS, 0);
  const gone = sets.changed(NOBODY, { slot: 1, kind: KIND.hbm, holds: true }, ALL);
  sets.count(gone, 1);
  const live = Uint32Array.from([1 << 2, 0]);
  const next = sets.changed(gone, { slot: 2, kind: KIND.hbm, holds: true }, live);
  expect(members(sets, next)).toEqual([`${KIND.hbm}@2`]);
});
