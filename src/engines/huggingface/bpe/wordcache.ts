/**
 * Words and the tokens that they became. All memory is taken at the start and nothing is allocated after: a fixed number of places in sets
 * of four, and in a full set the word goes that was not asked for since the last one went. Long words are not kept.
 */
const SETS = 2 ** 13;
const WAYS = 4;
const UNITS = 24;
const TOKENS = 8;
/** Sizes hold, five bits each, length in units and number of tokens; above them stands whether the word was asked for. */
const HOT = 1 << 12;

export class WordCache {
  readonly #hashes = new Int32Array(SETS * WAYS);
  /** 0 = nothing there. */
  readonly #sizes = new Int16Array(SETS * WAYS);
  readonly #units = new Uint16Array(SETS * WAYS * UNITS);
  readonly #tokens = new Int32Array(SETS * WAYS * TOKENS);
  readonly #hands = new Uint8Array(SETS);
  #hash = 0;

  /** Bytes of memory, whatever is in it. */
  get bytes(): number {
    const parts = [this.#hashes, this.#sizes, this.#units, this.#tokens, this.#hands];
    return parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  clear(): void {
    this.#sizes.fill(0);
  }

  /** Where the word units[start, end) is, or -1 when it is not known. */
  find(units: Uint16Array, start: number, end: number): number {
    const length = end - start;
    if (length > UNITS) return -1;
    let hash = length;
    for (let place = start; place < end; place += 1) hash = Math.imul(hash ^ (units[place] ?? 0), 0x01000193);
    hash ^= hash >>> 15;
    this.#hash = hash;
    const first = (hash & (SETS - 1)) * WAYS;
    for (let way = first; way < first + WAYS; way += 1) {
      if (this.#hashes[way] === hash && this.#is(way, units, [start, length])) return way;
    }
    return -1;
  }

  /** Writes the tokens of the word that `find` found to `out` from `at` on. @returns how many */
  read(way: number, out: Int32Array, at: number): number {
    const size = this.#sizes[way] ?? 0;
    this.#sizes[way] = size | HOT;
    const count = (size >> 5) & 31;
    const first = way * TOKENS;
    for (let token = 0; token < count; token += 1) out[at + token] = this.#tokens[first + token] ?? 0;
    return count;
  }

  /** Keeps `tokens` for the word that `find` did not know just before. */
  write(units: Uint16Array, [start, end]: readonly [number, number], tokens: Int32Array): void {
    const length = end - start;
    const count = tokens.length;
    if (length > UNITS || count > TOKENS) return;
    const way = this.#place();
    this.#hashes[way] = this.#hash;
    this.#sizes[way] = length | (count << 5);
    for (let place = 0; place < length; place += 1) this.#units[way * UNITS + place] = units[start + place] ?? 0;
    for (let token = 0; token < count; token += 1) this.#tokens[way * TOKENS + token] = tokens[token] ?? 0;
  }

  #is(way: number, units: Uint16Array, [start, length]: readonly [number, number]): boolean {
    if (((this.#sizes[way] ?? 0) & 31) !== length) return false;
    const known = this.#units;
    const first = way * UNITS;
    for (let place = 0; place < length; place += 1) if (known[first + place] !== units[start + place]) return false;
    return true;
  }

  /** A place for another word in the set of the current hash. */
  #place(): number {
    const set = this.#hash & (SETS - 1);
    let hand = this.#hands[set] ?? 0;
    while (((this.#sizes[set * WAYS + hand] ?? 0) & HOT) !== 0) {
      this.#sizes[set * WAYS + hand] = (this.#sizes[set * WAYS + hand] ?? 0) & ~HOT;
      hand = (hand + 1) % WAYS;
    }
    this.#hands[set] = (hand + 1) % WAYS;
    return set * WAYS + hand;
  }
}
