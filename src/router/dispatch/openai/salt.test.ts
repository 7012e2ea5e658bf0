import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { joinedSalt } from './salt.ts';

describe('joinedSalt', () => {
  it('is none for none, and else one that vLLM takes', () => {
    expect(joinedSalt('', '')).toBe('');
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.string(), (tenant, client) => {
        expect(joinedSalt(tenant, client)).toMatch(/^[\w-]{43}$/);
      }),
    );
  });

  it('differs wherever tenant or client differ', () => {
    const pairs = [
      ['a', ''],
      ['', 'a'],
      ['a', 'b'],
      ['ab', ''],
      ['', 'ab'],
      ['a"', ',b'],
      ['a', '"b'],
      ['a","b', ''],
    ] as const;
    const salts = pairs.map(([tenant, client]) => joinedSalt(tenant, client));
    expect(new Set([...salts, ...salts.slice(0, 4).map((salt) => joinedSalt('', salt))]).size).toBe(pairs.length + 4);
  });
});
