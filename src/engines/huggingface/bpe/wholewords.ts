/**
 * Words that are tokens as they stand although their merges end elsewhere, for tokenizers that look a word up before they take it apart
 * (`ignore_merges`). They are few or none, so a word is spelled out for a look-up only when its hash says that it may be one.
 */
import { BYTE_LETTERS } from '../bytealphabet.ts';

const BITS = 2 ** 20;

export class WholeWords {
  readonly #ids = new Map<string, number>();
  readonly #maybe = new Uint32Array(BITS / 32);

  /** @param bytes what the token stands for */
  add(token: string, bytes: Uint8Array, id: number): void {
    const bit = bitOf(bytes, bytes.length);
    this.#maybe[bit >>> 5] = (this.#maybe[bit >>> 5] ?? 0) | (1 << (bit & 31));
    this.#ids.set(token, id);
  }

  /** The token that the first `length` bytes are, if they are one. */
  idOf(bytes: Uint8Array, length: number): number | undefined {
    if (this.#ids.size === 0) return undefined;
    const bit = bitOf(bytes, length);
    if (((this.#maybe[bit >>> 5] ?? 0) & (1 << (bit & 31))) === 0) return undefined;
    let letters = '';
    for (let at = 0; at < length; at += 1) letters += BYTE_LETTERS[bytes[at] ?? 0] ?? '';
    return this.#ids.get(letters);
  }
}

function bitOf(bytes: Uint8Array, length: number): number {
  let hash = length;
  for (let at = 0; at < length; at += 1) hash = Math.imul(hash ^ (bytes[at] ?? 0), 0x01000193);
  return (hash ^ (hash >>> 15)) & (BITS - 1);
}
