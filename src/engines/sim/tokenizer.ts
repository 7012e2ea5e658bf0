/**
 * The `bytes4` tokenizer of simulated engines: each four bytes of UTF-8 are one token, hashed into the vocabulary.
 *
 * What a simulated engine says consists of words of three letters with a space before, so a chat's answer sent back as an assistant
 * message becomes the very tokens that were generated, and the next turn finds its KV.
 */
import type { ChatMessage, Tokenizer } from '../port.ts';
import { WORDS } from './words.ts';

export const SIM_VOCABULARY = 32_000;
/** End of sequence; has no text and is no token of any text. */
export const END_TOKEN = 0;

function tokenOf(word: number): number {
  let mixed = word ^ (word >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  mixed ^= mixed >>> 16;
  return 1 + ((mixed >>> 0) % (SIM_VOCABULARY - 1));
}

function encode(text: string): Int32Array {
  const bytes = Buffer.from(text, 'utf8');
  const tokens = new Int32Array(Math.ceil(bytes.length / 4));
  const whole = bytes.length >>> 2;
  for (let index = 0; index < whole; index += 1) tokens[index] = tokenOf(bytes.readInt32LE(index * 4));
  if (whole < tokens.length) {
    // The length takes part, so that a short last group differs from one that ends in zero bytes.
    const rest = bytes.length - whole * 4;
    tokens[whole] = tokenOf(bytes.readUIntLE(whole * 4, rest) | (rest << 24));
  }
  return tokens;
}

/** Pieces of the words, by token. Other tokens of a text are one-way and are shown as a word chosen by their id. */
const PIECES = WORDS.map((word) => new TextEncoder().encode(` ${word}`));
export const WORD_TOKENS: Int32Array = Int32Array.from(WORDS, (word) => encode(` ${word}`)[0] ?? 0);
const pieceOfToken = new Map(Array.from(WORD_TOKENS, (token, index) => [token, PIECES[index]] as const));
const NOTHING = new Uint8Array(0);

/** Each part starts a new group, so that what a message says does not depend on the length of what stands before it. */
function encodeChat(messages: readonly ChatMessage[]): Int32Array {
  const parts = messages.flatMap(({ role, content }) => [encode(`<|${role}|>`), encode(content), encode('<|end|>')]);
  parts.push(encode('<|assistant|>'));
  const tokens = new Int32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    tokens.set(part, at);
    at += part.length;
  }
  return tokens;
}

export const bytes4Tokenizer: Tokenizer = {
  vocabularySize: SIM_VOCABULARY,
  encode,
  encodeChat,
  piece: (token) => (token === END_TOKEN ? NOTHING : (pieceOfToken.get(token) ?? PIECES[token % PIECES.length] ?? NOTHING)),
};
