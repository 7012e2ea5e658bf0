/**
 * Where a word can be cut before it is merged: between two bytes that no merge joins, whatever stands around them. So a long word without
 * spaces, as Chinese and Japanese have them, becomes many short ones. That two bytes are joined somewhere is told by a hash: at worst a word
 * is not cut where it could be.
 */
const BITS = 2 ** 23;
/** Stands for a byte that a token does not have on that side. */
const BEYOND = 256;

export class Seams {
  readonly #joined = new Uint32Array(BITS / 32);

  /** A token that some merge makes, as bytes. */
  add(token: Uint8Array): void {
    for (let at = 1; at < token.length; at += 1) {
      const outerLeft = at > 1 ? (token[at - 2] ?? 0) : BEYOND;
      const outerRight = at + 1 < token.length ? (token[at + 1] ?? 0) : BEYOND;
      const bit = bitOf(outerLeft, pairOf(token, at), outerRight);
      this.#joined[bit >>> 5] = (this.#joined[bit >>> 5] ?? 0) | (1 << (bit & 31));
    }
  }

  /** The next place after `from` where bytes[from, end) can be cut; `end` when there is none. */
  next(bytes: Uint8Array, from: number, end: number): number {
    for (let at = from + 1; at < end; at += 1) if (!this.#mayJoin(bytes, at, end)) return at;
    return end;
  }

  /** Whether some token has the bytes on both sides of `at`, as far as it goes on each. */
  #mayJoin(bytes: Uint8Array, at: number, end: number): boolean {
    const pair = pairOf(bytes, at);
    const left = at > 1 ? (bytes[at - 2] ?? 0) : BEYOND;
    const right = at + 1 < end ? (bytes[at + 1] ?? 0) : BEYOND;
    return (
      this.#has(left, pair, right) || this.#has(BEYOND, pair, right) || this.#has(left, pair, BEYOND) || this.#has(BEYOND, pair, BEYOND)
    );
  }

  #has(left: number, pair: number, right: number): boolean {
    const bit = bitOf(left, pair, right);
    return ((this.#joined[bit >>> 5] ?? 0) & (1 << (bit & 31))) !== 0;
  }
}

function pairOf(bytes: Uint8Array, at: number): number {
  return ((bytes[at - 1] ?? 0) << 8) | (bytes[at] ?? 0);
}

function bitOf(left: number, pair: number, right: number): number {
  let mixed = Math.imul((left << 9) | right, 0x9e3779b1) + pair;
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x85ebca6b);
  return (mixed ^ (mixed >>> 13)) >>> 9;
}
