/**
 * The alphabet of byte-level tokenizers (GPT-2's): one printable letter for each byte, so that any text is a text of letters.
 */

/** The letter of each byte. */
export const BYTE_LETTERS: readonly string[] = letters();

/** By the code of a letter; -1 is none. */
const BYTES = new Int16Array(0x200).fill(-1);
for (const [byte, letter] of BYTE_LETTERS.entries()) BYTES[letter.charCodeAt(0)] = byte;

/** The bytes that a token of letters stands for; null when a letter is none of the alphabet. */
export function bytesOfLetters(token: string): Uint8Array | null {
  const bytes = new Uint8Array(token.length);
  for (let at = 0; at < token.length; at += 1) {
    const byte = BYTES[token.charCodeAt(at)] ?? -1;
    if (byte < 0) return null;
    bytes[at] = byte;
  }
  return bytes;
}

/** Visible Latin-1 characters are their own letters; the rest gets those from U+0100 on, in order. */
function letters(): string[] {
  const visible = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(visible(byte) ? byte : next++));
}
