import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Merger } from './merger.ts';
import { MergeTable } from './mergetable.ts';

interface Merge {
  readonly left: number;
  readonly right: number;
  readonly merged: number;
}

/** Tokens 0 to 3, and merges of any two tokens that there are at that time. */
const anyMerges = fc.array(fc.tuple(fc.nat(), fc.nat()), { minLength: 1, maxLength: 40 }).map((picks) => {
  const merges: Merge[] = [];
  for (const [one, other] of picks) {
    const count = 4 + merges.length;
    const [left, right] = [one % count, other % count];
    if (!merges.some((merge) => merge.left === left && merge.right === right)) merges.push({ left, right, merged: count });
  }
  return merges;
});

/** By the definition: of all pairs the one of the lowest rank, the leftmost first, one at a time. */
function mergedByDefinition(word: readonly number[], merges: readonly Merge[]): number[] {
  const tokens = [...word];
  for (;;) {
    let best = { rank: merges.length, at: -1 };
    for (let at = 0; at + 1 < tokens.length; at += 1) {
      const rank = merges.findIndex(({ left, right }) => left === tokens[at] && right === tokens[at + 1]);
      if (rank >= 0 && rank < best.rank) best = { rank, at };
    }
    const merge = merges[best.rank];
    if (!merge) return tokens;
    tokens.splice(best.at, 2, merge.merged);
  }
}

it.each([
  ['short', 40],
  ['long', 160],
])('%s words become what the definition says', (_what, most) => {
  fc.assert(
    fc.property(anyMerges, fc.array(fc.nat({ max: 3 }), { minLength: most / 4, maxLength: most }), (merges, word) => {
      const table = new MergeTable(merges.length);
      for (const [rank, { left, right, merged }] of merges.entries()) table.set(left, right, { rank, merged });
      const merger = new Merger(table);
      merger.tokens.set(word);
      const count = merger.merge(word.length);
      expect([...merger.tokens.subarray(0, count)]).toEqual(mergedByDefinition(word, merges));
    }),
    { numRuns: 100 },
  );
});

it('a pair that is set twice has the later rank', () => {
  const table = new MergeTable(2);
  table.set(1, 2, { rank: 0, merged: 3 });
  table.set(1, 2, { rank: 7, merged: 4 });
  const slot = table.slotOf(1, 2);
  expect([table.rankAt(slot), table.mergedAt(slot), table.slotOf(2, 1)]).toEqual([7, 4, -1]);
});
