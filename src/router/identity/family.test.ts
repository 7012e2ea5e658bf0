import { describe, expect, it } from 'vitest';
import type { EngineInfo, Tokenizer } from '../../engines/index.ts';
import { blockKeys, chainSeed, keyNumbers } from '../../kv/index.ts';
import type { PromptSource } from '../edge/index.ts';
import { GenerationCache } from './cache.ts';
import { Family, familyKey } from './family.ts';

const INFO: EngineInfo = {
  instance: 'a',
  incarnation: '1',
  role: 'mixed',
  engine: 'sim',
  dialect: 'sluice',
  requestUrl: null,
  simulated: true,
  model: 'm',
  contextTokens: 4096,
  maxSequences: 4,
  identity: { model: 'm', revision: '', tokenizer: 't', rope: '', adapter: '', dtype: 'f16', layout: 'l', blockTokens: 4 },
  bytesPerBlock: 64,
  tokenizer: { kind: 'bytes4' },
  transfer: { host: 'h', port: 1 },
  leaseMs: null,
};

/** One token per character; counts how often it is asked. */
class CharacterTokenizer implements Tokenizer {
  readonly vocabularySize = 65_536;
  calls = 0;

  encode(text: string): Int32Array {
    this.calls += 1;
    return Int32Array.from(text, (character) => character.charCodeAt(0));
  }

  encodeChat(messages: readonly { role: string; content: string }[]): Int32Array {
    if (messages.some((message) => message.role === 'tool')) throw new Error('the template has no such role');
    return this.encode(messages.map(({ role, content }) => `<${role}>${content}`).join(''));
  }

  piece(): Uint8Array {
    return new Uint8Array(0);
  }
}

function expectedKeys(text: string, salt: string): Float64Array {
  const tokens = Int32Array.from(text, (character) => character.charCodeAt(0));
  return keyNumbers(blockKeys(chainSeed(INFO.identity, salt), tokens, 4));
}

/** Asks as the router does: with the body that the prompt came in. */
function namesOf(family: Family, prompt: PromptSource, salt = '') {
  return family.namesOf(prompt, Buffer.from(JSON.stringify(prompt)), salt);
}

describe('Family', () => {
  it('names the full blocks of a text as engines do, and tokenizes it once', () => {
    const tokenizer = new CharacterTokenizer();
    const family = new Family(INFO, tokenizer);
    for (let count = 0; count < 2; count += 1) {
      const names = namesOf(family, { kind: 'text', text: 'hello world' });
      expect(names.tokens).toBe(11);
      expect(names.keys).toEqual(expectedKeys('hello world', ''));
    }
    expect(tokenizer.calls).toBe(1);
  });

  it('gives token prompts the names of the same text', () => {
    const family = new Family(INFO, new CharacterTokenizer());
    const tokens = Array.from('hello world', (character) => character.charCodeAt(0));
    expect(namesOf(family, { kind: 'tokens', tokens }).keys).toEqual(expectedKeys('hello world', ''));
  });

  it('separates salts and conversations', () => {
    const family = new Family(INFO, new CharacterTokenizer());
    const keys = (salt: string) => namesOf(family, { kind: 'text', text: 'hello world' }, salt).keys;
    expect(keys('a')).toEqual(expectedKeys('hello world', 'a'));
    expect(keys('b')).toEqual(expectedKeys('hello world', 'b'));
    expect(keys('a')).not.toEqual(keys('b'));
    const chat = (contents: string[]) =>
      namesOf(family, { kind: 'chat', messages: contents.map((content) => ({ role: 'user', content })) }).keys;
    expect(chat(['ab', 'cdef'])).not.toEqual(chat(['abcd', 'ef']));
  });

  it('does without names when there is no tokenizer, or it refuses, or the text cannot fit', () => {
    const prompt = { kind: 'text', text: 'x'.repeat(40) } as const;
    expect(new Family(INFO, null).namesOf(prompt, Buffer.alloc(40), '')).toEqual({ tokens: 10, keys: new Float64Array(0) });
    const family = new Family(INFO, new CharacterTokenizer());
    expect(namesOf(family, { kind: 'chat', messages: [{ role: 'tool', content: 'x' }] }).keys.length).toBe(0);
    expect(namesOf(family, { kind: 'text', text: 'x'.repeat(4096 * 64 + 1) }).keys.length).toBe(0);
    expect(namesOf(family, { kind: 'none' })).toEqual({ tokens: 0, keys: new Float64Array(0) });
  });

  it('is one for equal identities only', () => {
    expect(familyKey({ ...INFO, instance: 'b', role: 'decode' })).toBe(familyKey(INFO));
    for (const field of Object.keys(INFO.identity)) {
      const identity = { ...INFO.identity, [field]: field === 'blockTokens' ? 8 : 'other' };
      expect(familyKey({ ...INFO, identity })).not.toBe(familyKey(INFO));
    }
  });
});

describe('GenerationCache', () => {
  it('keeps to its budget and drops what was not used lately', () => {
    const cache = new GenerationCache<number, number>(100);
    for (let key = 0; key < 1000; key += 1) {
      expect(cache.get(key)).toBeUndefined();
      cache.set(key, key, 10);
      expect(cache.get(0)).toBe(0);
      expect(cache.get(key)).toBe(key);
      expect(cache.bytes).toBeLessThanOrEqual(100);
    }
    expect([cache.get(999), cache.get(500)]).toEqual([999, undefined]);
  });

  it('leaves out what is too large', () => {
    const cache = new GenerationCache<string, number>(100);
    cache.set('a', 1, 51);
    expect([cache.get('a'), cache.bytes]).toEqual([undefined, 0]);
  });
});
