import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { KvIdentity } from './identity.ts';
import { blockKeys, chainSeed } from './keys.ts';
import { keyHexes } from './names.ts';

const IDENTITY: KvIdentity = {
  model: 'sha256:0011',
  revision: 'main',
  tokenizer: 'sha256:2233',
  rope: '10000/1/64',
  adapter: '',
  dtype: 'f16',
  layout: 'ggml/k-rows,v-columns/4x64',
  blockTokens: 16,
};
const SEED = chainSeed(IDENTITY, '');

const token = fc.integer({ min: -2_147_483_648, max: 2_147_483_647 });
const prompt = fc.array(token, { minLength: 1, maxLength: 80 }).map((ids) => Int32Array.from(ids));
const blockTokens = fc.constantFrom(1, 2, 3, 4, 5, 8, 16, 32);

describe('chainSeed', () => {
  it('is the same for equal input and fixed across versions', () => {
    expect(chainSeed({ ...IDENTITY }, '')).toEqual(SEED);
    expect(keyHexes(SEED)).toEqual(['8aa10a7e124b86f1719be97beb0dd1e9']);
  });

  it.each(Object.keys(IDENTITY) as (keyof KvIdentity)[])('changes with %s', (field) => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.integer({ min: 1, max: 64 }), (text, count) => {
        const before = IDENTITY[field];
        const after = typeof before === 'number' ? before + count : before + text;
        const seed = chainSeed({ ...IDENTITY, [field]: after }, '');
        expect([...seed].some((word, index) => word === SEED[index])).toBe(false);
      }),
      { numRuns: 30 },
    );
  });

  it('changes with the salt, lone surrogates included', () => {
    const salts = ['', 'a', 'b', 'ab', '\ud800', '\ud801', '\ufffd', 'salt'];
    expect(new Set(salts.map((salt) => keyHexes(chainSeed(IDENTITY, salt))[0])).size).toBe(salts.length);
  });

  it('does not confuse the end of one field with the start of the next', () => {
    const left = chainSeed({ ...IDENTITY, model: 'ab', revision: 'c' }, '');
    const right = chainSeed({ ...IDENTITY, model: 'a', revision: 'bc' }, '');
    expect(left).not.toEqual(right);
  });
});

describe('blockKeys', () => {
  it('gives four words per full block and none for the rest', () => {
    fc.assert(
      fc.property(prompt, blockTokens, (tokens, size) => {
        expect(blockKeys(SEED, tokens, size).length).toBe(Math.floor(tokens.length / size) * 4);
      }),
    );
  });

  it('continues from any block: the parent key is the whole state', () => {
    fc.assert(
      fc.property(prompt, blockTokens, fc.nat(80), (tokens, size, cut) => {
        const whole = blockKeys(SEED, tokens, size);
        const blocks = Math.min(cut, whole.length / 4);
        const parent = blocks === 0 ? SEED : whole.slice(blocks * 4 - 4, blocks * 4);
        expect(blockKeys(parent, tokens.subarray(blocks * size), size)).toEqual(whole.slice(blocks * 4));
      }),
    );
  });

  it('changes its own and all later keys with any token, and no earlier one', () => {
    fc.assert(
      fc.property(prompt, blockTokens, fc.nat(), token, (tokens, size, where, other) => {
        const at = where % tokens.length;
        fc.pre(tokens[at] !== other);
        const changed = Int32Array.from(tokens);
        changed[at] = other;
        const before = keyHexes(blockKeys(SEED, tokens, size));
        const after = keyHexes(blockKeys(SEED, changed, size));
        before.forEach((key, block) => {
          if (block < Math.floor(at / size)) expect(after[block]).toBe(key);
          else expect(after[block]).not.toBe(key);
        });
      }),
    );
  });

  it('has fixed values', () => {
    const tokens = Int32Array.from({ length: 32 }, (_, index) => index * 7);
    expect(keyHexes(blockKeys(SEED, tokens, 16))).toEqual(['893f5d569c8561b5c4ae4c3aabe5f07a', 'c1f1137dcf946dd8b077ea1a35b24f3e']);
    // MurmurHash3_x86_128 of the bytes 00…0f with seed 0, computed with the algorithm written in C.
    const bytes = new Int32Array(Uint8Array.from({ length: 16 }, (_, index) => index).buffer);
    expect(keyHexes(blockKeys(new Uint32Array(4), bytes, 4))).toEqual(['6c25c825559180eeea53807489a55bef']);
  });

  it('flips every bit of the key with probability near one half when one input bit flips', () => {
    const rounds = 64;
    const flips = new Float64Array(128);
    let inputs = 0;
    for (let round = 0; round < rounds; round++) {
      const tokens = Int32Array.from({ length: 16 }, (_, index) => Math.imul(round * 16 + index + 1, 0x9e3779b1) >>> 17);
      const before = blockKeys(SEED, tokens, 16);
      for (let bit = 0; bit < 16 * 32; bit += 3) {
        const changed = Int32Array.from(tokens);
        changed[bit >>> 5] = (changed[bit >>> 5] as number) ^ (1 << (bit & 31));
        const after = blockKeys(SEED, changed, 16);
        for (let out = 0; out < 128; out++)
          flips[out] = (flips[out] as number) + ((((before[out >>> 5] as number) ^ (after[out >>> 5] as number)) >>> (out & 31)) & 1);
        inputs += 1;
      }
    }
    for (const count of flips) {
      expect(count / inputs).toBeGreaterThan(0.46);
      expect(count / inputs).toBeLessThan(0.54);
    }
  });

  it('has no collision among a million blocks, also in the 53 bits of the hint index', () => {
    const perChain = 1000;
    const seen = new Set<number>();
    for (let chain = 0; chain < 1000; chain++) {
      const tokens = new Int32Array(perChain * 16);
      for (let at = 0; at < tokens.length; at++) tokens[at] = (at + chain) % 7;
      const keys = blockKeys(Uint32Array.from([chain, 0, 0, 0]), tokens, 16);
      for (let block = 0; block < perChain; block++)
        seen.add((keys[block * 4] as number) * 0x200000 + ((keys[block * 4 + 1] as number) >>> 11));
    }
    expect(seen.size).toBe(1_000_000);
  });

  it('names a wrong argument', () => {
    expect(() => blockKeys(new Uint32Array(3), new Int32Array(4), 4)).toThrow('seed: expected 4 words, got 3');
    expect(() => blockKeys(SEED, new Int32Array(4), 0)).toThrow('blockTokens: expected an integer of 1 or more, got 0');
    expect(() => blockKeys(SEED, new Int32Array(4), 1.5)).toThrow('blockTokens');
  });
});
