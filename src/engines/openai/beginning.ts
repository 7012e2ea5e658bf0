/**
 * The tokens that all prompts have which begin alike. Not simply those of the beginning: its last token may be another one when more text
 * follows, and a chat template ends with what asks for an answer. So it is continued in several ways, and what is equal in all counts. Pure.
 */
import type { ChatMessage, Tokenizer } from '../port.ts';

/** Letters, digits, space and line ends join what is before them into other tokens. */
const CONTINUATIONS = ['a', '7', ' The', '\n\n', '. ', 'é'] as const;

export function beginningOfText(tokenizer: Tokenizer, text: string): Int32Array {
  return shared(CONTINUATIONS.map((more) => tokenizer.encode(text + more)));
}

/** @param messages not empty; a turn of the other side follows */
export function beginningOfChat(tokenizer: Tokenizer, messages: readonly ChatMessage[]): Int32Array {
  const role = messages.at(-1)?.role === 'user' ? 'assistant' : 'user';
  return shared(CONTINUATIONS.map((content) => tokenizer.encodeChat([...messages, { role, content: `${content}.` }])));
}

/** The longest common prefix. */
function shared(prompts: readonly Int32Array[]): Int32Array {
  const [first = new Int32Array(0), ...others] = prompts;
  let length = first.length;
  for (const other of others) {
    let at = 0;
    while (at < length && at < other.length && other[at] === first[at]) at += 1;
    length = at;
  }
  return first.subarray(0, length);
}
