/**
 * The alphabet of byte-level tokenizers (GPT-2's): one printable letter for each byte, so that any text is a text of letters.
 */

/** The letter of each byte. */
export const BYTE_LETTERS: readonly string[] = letters();

const BYTES = new Map(BYTE_LETTERS.map((letter, byte) => [letter, byte] as const));

/** The bytes that a token of letters stands for; null when a letter is none of the alphabet. */
export function bytesOfLetters(token: string): Uint8Array | null {
  const bytes = Array.from(token, (letter) => BYTES.get(letter));
  return bytes.every((byte) => byte !== undefined) ? Uint8Array.from(bytes) : null;
}

/** Visible Latin-1 characters are their own letters; the rest gets those from U+0100 on, in order. */
function letters(): string[] {
  const visible = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(visible(byte) ? byte : next++));
}
