import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mergePatch } from './patch.ts';

/** RFC 7386, section 2. */
function patched(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const base = typeof target === 'object' && target !== null && !Array.isArray(target) ? target : {};
  const result: Record<string, unknown> = { ...base };
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else result[name] = patched(result[name], value);
  }
  return result;
}

const leaf = fc.oneof(fc.integer(), fc.string(), fc.boolean(), fc.array(fc.integer(), { maxLength: 2 }));
const { mapping } = fc.letrec<{ mapping: Record<string, unknown>; value: unknown }>((tie) => ({
  mapping: fc.dictionary(fc.constantFrom('a', 'b', 'c'), tie('value'), { maxKeys: 3 }),
  value: fc.oneof({ depthSize: 'small' }, leaf, tie('mapping')),
}));

describe('mergePatch', () => {
  it('leads from any value to any other', () => {
    fc.assert(
      fc.property(mapping, mapping, (before, after) => {
        expect(patched(before, mergePatch(before, after))).toEqual(after);
      }),
    );
  });

  it('is empty between equal values, and names only what differs', () => {
    fc.assert(
      fc.property(mapping, (value) => {
        expect(mergePatch(value, structuredClone(value))).toEqual({});
      }),
    );
    expect(mergePatch({ a: { b: 1, c: [1] }, d: 1 }, { a: { b: 2, c: [1] }, e: {} })).toEqual({ d: null, a: { b: 2 }, e: {} });
  });
});
