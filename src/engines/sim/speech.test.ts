import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Sampling } from '../port.ts';
import { Speech } from './speech.ts';
import { bytes4Tokenizer, END_TOKEN, WORD_TOKENS } from './tokenizer.ts';
import { WORDS } from './words.ts';

const SAMPLING: Sampling = { temperature: 1, topP: 1, seed: 5, maxTokens: 100, ignoreEos: true, logprobs: null };
const say = (speech: Speech, count: number) => Array.from({ length: count }, () => speech.next());
const tokens = fc.array(fc.nat(31_999), { minLength: 1, maxLength: 50 }).map((list) => Int32Array.from(list));

describe('Speech', () => {
  it('goes on after any position with the same tokens', () => {
    fc.assert(
      fc.property(tokens, fc.nat(40), fc.nat(), (prompt, cut, seed) => {
        const unbroken = say(new Speech(prompt, { ...SAMPLING, seed }), 50);
        const resumed = new Speech(prompt, { ...SAMPLING, seed });
        for (const token of unbroken.slice(0, cut)) resumed.hear(token);
        expect(say(resumed, 50 - cut)).toEqual(unbroken.slice(cut));
      }),
    );
  });

  it('depends on the prompt, on what was said, and on the seed unless it is greedy', () => {
    const prompt = Int32Array.of(1, 2, 3);
    const base = say(new Speech(prompt, SAMPLING), 20);
    expect(say(new Speech(Int32Array.of(1, 2, 4), SAMPLING), 20)).not.toEqual(base);
    expect(say(new Speech(prompt, { ...SAMPLING, seed: 6 }), 20)).not.toEqual(base);
    const other = new Speech(prompt, SAMPLING);
    other.hear(9);
    expect(say(other, 19)).not.toEqual(base.slice(1));
    const greedy = { ...SAMPLING, temperature: 0 };
    expect(say(new Speech(prompt, { ...greedy, seed: 1 }), 20)).toEqual(say(new Speech(prompt, { ...greedy, seed: 2 }), 20));
  });

  it('ends by itself after a while, unless told to ignore it', () => {
    const lengths = Array.from({ length: 50 }, (_, index) => {
      return say(new Speech(Int32Array.of(index), { ...SAMPLING, ignoreEos: false }), 4000).indexOf(END_TOKEN);
    });
    expect(Math.min(...lengths)).toBeGreaterThanOrEqual(128);
    const mean = lengths.reduce((sum, length) => sum + length, 0) / lengths.length;
    expect(mean).toBeGreaterThan(250);
    expect(mean).toBeLessThan(550);
    expect(say(new Speech(Int32Array.of(1), SAMPLING), 4000)).not.toContain(END_TOKEN);
  });

  it('scores the token that comes next as the most likely', () => {
    const speech = new Speech(Int32Array.of(1), { ...SAMPLING, logprobs: 3 });
    const scores = speech.scores();
    expect(scores?.top.map(({ token }) => token)[0]).toBe(speech.next());
    expect(scores?.top).toHaveLength(3);
    expect(scores?.logprob).toBe(scores?.top[0]?.logprob);
  });
});

describe('bytes4Tokenizer', () => {
  it('has a token of its own for every word', () => {
    expect(new Set(WORDS).size).toBe(WORDS.length);
    expect(new Set(WORD_TOKENS).size).toBe(WORDS.length);
    for (const word of WORDS) expect(word).toMatch(/^[a-z]{3}$/);
  });

  it('gives the generated tokens back for their text', () => {
    const said = say(new Speech(Int32Array.of(7), SAMPLING), 30);
    const text = said.map((token) => new TextDecoder().decode(bytes4Tokenizer.piece(token))).join('');
    expect([...bytes4Tokenizer.encode(text)]).toEqual(said);
    const first = bytes4Tokenizer.encodeChat([{ role: 'user', content: 'odd' }]);
    const second = bytes4Tokenizer.encodeChat([
      { role: 'user', content: 'odd' },
      { role: 'assistant', content: text },
      { role: 'user', content: 'next' },
    ]);
    expect([...second.subarray(0, first.length + said.length)]).toEqual([...first, ...said]);
  });

  it('tells texts apart, short last groups and zero bytes included', () => {
    const texts = ['', 'a', 'a\0', 'a\0\0', 'a\0\0\0', 'b', 'é', 'ab', 'abcd', 'abcde'];
    expect(new Set(texts.map((text) => bytes4Tokenizer.encode(text).join())).size).toBe(texts.length);
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        for (const token of bytes4Tokenizer.encode(text)) expect(token > 0 && token < bytes4Tokenizer.vocabularySize).toBe(true);
      }),
    );
  });
});
