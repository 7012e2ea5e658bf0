/**
 * Token pieces to text, one token at a time.
 *
 * Invariants
 * - The text depends on the bytes alone, not on where tokens cut them: a character split over tokens waits for its rest, bytes that
 *   are no UTF-8 become U+FFFD, and a stop string is found across token borders.
 * - Text is held back only as long as it could become a stop string. The stop string itself is never given out.
 * - The stop that is complete first wins; of several complete at the same character, the longest.
 */
import type { Tokenizer } from '../port.ts';

/** Pieces as text, remembered per token; null where a piece is no whole UTF-8 and must be decoded together with its neighbours. */
export class PieceTable {
  readonly #tokenizer: Tokenizer;
  readonly #texts: (string | null | undefined)[] = [];

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  bytes(token: number): Uint8Array {
    return this.#tokenizer.piece(token);
  }

  text(token: number): string | null {
    const known = this.#texts[token];
    if (known !== undefined) return known;
    const text = wholeText(this.#tokenizer.piece(token));
    this.#texts[token] = text;
    return text;
  }
}

const NO_BYTES = new Uint8Array(0);
const lenient = new TextDecoder('utf-8', { ignoreBOM: true });
const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Bytes at the end that start a character and wait for more: cutting before a lead byte never changes what the rest decodes to. */
export function unfinishedBytes(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back += 1) {
    const byte = bytes[bytes.length - back] ?? 0;
    if ((byte & 0xc0) === 0x80) continue;
    const needed = byte >= 0xf0 && byte < 0xf8 ? 4 : byte >= 0xe0 && byte < 0xf0 ? 3 : byte >= 0xc0 && byte < 0xe0 ? 2 : 1;
    return needed > back ? back : 0;
  }
  return 0;
}

function wholeText(bytes: Uint8Array): string | null {
  try {
    return strict.decode(bytes);
  } catch {
    // Not an error: a part of a character, which the caller joins with the next piece.
    return null;
  }
}

/** One stop string with Knuth–Morris–Pratt state: how many of its characters the text ends with. */
class StopMatcher {
  readonly stop: string;
  readonly #fallback: Uint16Array;
  matched = 0;

  constructor(stop: string) {
    this.stop = stop;
    this.#fallback = new Uint16Array(stop.length);
    for (let index = 1, length = 0; index < stop.length; index += 1) {
      while (length > 0 && stop[index] !== stop[length]) length = this.#fallback[length - 1] ?? 0;
      if (stop[index] === stop[length]) length += 1;
      this.#fallback[index] = length;
    }
  }

  /** True when the stop string is complete with this UTF-16 unit. */
  push(unit: number): boolean {
    while (this.matched > 0 && this.stop.charCodeAt(this.matched) !== unit) this.matched = this.#fallback[this.matched - 1] ?? 0;
    if (this.stop.charCodeAt(this.matched) === unit) this.matched += 1;
    return this.matched === this.stop.length;
  }
}

export class TokenText {
  readonly #pieces: PieceTable;
  readonly #stops: readonly StopMatcher[];
  /** First bytes of a character whose rest has not come: at most three. */
  #partial: Uint8Array = NO_BYTES;
  #held = '';
  /** UTF-16 units decoded so far, held ones included. */
  decodedLength = 0;
  /** The stop string that is complete; null = none is. */
  stoppedBy: string | null = null;

  constructor(pieces: PieceTable, stops: readonly string[]) {
    this.#pieces = pieces;
    this.#stops = stops.map((stop) => new StopMatcher(stop));
  }

  get stopped(): boolean {
    return this.stoppedBy !== null;
  }

  /** Text that may go out after this token; '' when none may. Sets `stoppedBy` when a stop string is complete. */
  push(token: number): string {
    const text = this.#decode(token);
    this.decodedLength += text.length;
    return this.#stops.length === 0 ? text : this.#release(text);
  }

  /** Text still held when no more tokens come. */
  flush(): string {
    const rest = this.#partial.length === 0 ? '' : lenient.decode(this.#partial);
    this.#partial = NO_BYTES;
    this.decodedLength += rest.length;
    if (this.#stops.length === 0) return rest;
    const released = this.#release(rest);
    const held = this.stopped ? '' : this.#held;
    this.#held = '';
    return released + held;
  }

  #decode(token: number): string {
    if (this.#partial.length === 0) {
      const whole = this.#pieces.text(token);
      if (whole !== null) return whole;
    }
    const piece = this.#pieces.bytes(token);
    const bytes = new Uint8Array(this.#partial.length + piece.length);
    bytes.set(this.#partial);
    bytes.set(piece, this.#partial.length);
    const whole = bytes.length - unfinishedBytes(bytes);
    this.#partial = whole === bytes.length ? NO_BYTES : bytes.slice(whole);
    return lenient.decode(bytes.subarray(0, whole));
  }

  #release(text: string): string {
    const all = this.#held + text;
    for (let index = this.#held.length; index < all.length; index += 1) {
      let longest = '';
      for (const matcher of this.#stops) {
        if (matcher.push(all.charCodeAt(index)) && matcher.stop.length > longest.length) longest = matcher.stop;
      }
      if (longest !== '') {
        this.stoppedBy = longest;
        this.#held = '';
        return all.slice(0, index + 1 - longest.length);
      }
    }
    let keep = 0;
    for (const matcher of this.#stops) keep = Math.max(keep, matcher.matched);
    this.#held = keep === 0 ? '' : all.slice(all.length - keep);
    return keep === 0 ? all : all.slice(0, all.length - keep);
  }
}
