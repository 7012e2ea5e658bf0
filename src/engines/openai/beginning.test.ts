import { describe, expect, it } from 'vitest';
import { bytes4Tokenizer } from '../sim/tokenizer.ts';
import { beginningOfChat, beginningOfText } from './beginning.ts';

/** Not among those that it tries itself. */
const QUESTIONS = ['x', '42', ' and so on', '\n  - one', '?', 'ß', '', 'The sluice opens.'];
const startsWith = (prompt: Int32Array, beginning: Int32Array) => beginning.every((token, at) => prompt[at] === token);

describe('the beginning that prompts have in common', () => {
  // Tokens of four bytes: the last one of a text depends on what follows, three times in four.
  it.each([1, 2, 3, 4, 5, 17, 64])('is part of every text that goes on after %i characters, and nearly all of it', (length) => {
    const text = 'abcdefghijklmnop'.repeat(4).slice(0, length);
    const beginning = beginningOfText(bytes4Tokenizer, text);
    for (const more of QUESTIONS.filter((one) => one !== ''))
      expect(startsWith(bytes4Tokenizer.encode(text + more), beginning), JSON.stringify(more)).toBe(true);
    expect(beginning.length).toBe(Math.floor(length / 4));
  });

  it.each([
    [[{ role: 'system', content: 'Be kind.' }], 'user'],
    [
      [
        { role: 'system', content: 'Be kind.' },
        { role: 'user', content: 'Hello' },
      ],
      'assistant',
    ],
    [[{ role: 'assistant', content: '' }], 'user'],
  ])('of a chat is part of every chat that goes on, with what announces the next message: %j', (messages, role) => {
    const beginning = beginningOfChat(bytes4Tokenizer, messages);
    for (const content of QUESTIONS)
      expect(startsWith(bytes4Tokenizer.encodeChat([...messages, { role, content }]), beginning), JSON.stringify(content)).toBe(true);
    const whole = bytes4Tokenizer.encodeChat(messages);
    expect(beginning.length).toBeGreaterThan(whole.length - 4);
    // An assistant's message is announced as an answer is asked for.
    expect(startsWith(whole, beginning)).toBe(role === 'assistant');
  });
});
