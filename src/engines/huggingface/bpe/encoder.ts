/** Byte-level BPE: the ids that Hugging Face's tokenizers give, for the tokenizers that `readBpe` claims. Not reentrant, never asynchronous. */
import { bytesOfLetters } from '../bytealphabet.ts';
import type { AddedTokens } from './addedtokens.ts';
import type { BpeDefinition } from './definition.ts';
import { Merger } from './merger.ts';
import { WholeWords } from './wholewords.ts';
import { WordCache } from './wordcache.ts';

/** Memory for longer texts is given back. */
const KEPT_UNITS = 2 ** 18;
/** Room for the tokens of a word that the cache knows. */
const ROOM = 32;
/** A longer word without a break is no text: hundreds of megabytes and seconds would go into it. */
const MAX_WORD_BYTES = 4 * 2 ** 20;

export class BpeEncoder {
  readonly #definition: BpeDefinition;
  readonly #merger: Merger;
  readonly #cache = new WordCache();
  readonly #wholeWords = new WholeWords();
  #units = new Uint16Array(KEPT_UNITS);
  #bytes = Buffer.from(this.#units.buffer);
  #out = new Int32Array(KEPT_UNITS);
  #utf8 = new Uint8Array(KEPT_UNITS);
  #count = 0;

  constructor(definition: BpeDefinition) {
    this.#definition = definition;
    this.#merger = new Merger(definition.merges);
    if (definition.wholeWords) for (const [token, id] of definition.ids) this.#keepWhole(token, id);
  }

  /**
   * @param specialTokens whether the model's own go around the text; those that stand in the text are always read
   * @throws RangeError for a word of more than 4 MiB, or a text that a pattern of the tokenizer would look at again and again
   */
  encode(text: string, specialTokens: boolean): Int32Array {
    const { before, after, exact } = this.#definition;
    this.#count = 0;
    try {
      if (specialTokens) for (const id of before) this.#push(id);
      this.#divide(text.toWellFormed(), exact, (part) => this.#normalized(part));
      if (specialTokens) for (const id of after) this.#push(id);
      return this.#out.slice(0, this.#count);
    } finally {
      this.#release();
    }
  }

  /** Forgets the words it knows, which changes no id. */
  forgetWords(): void {
    this.#cache.clear();
  }

  #divide(text: string, added: AddedTokens, rest: (part: string) => void): void {
    let done = 0;
    for (let found = added.find(text, 0); found !== null; found = added.find(text, done)) {
      if (found.start > done) rest(text.slice(done, found.start));
      this.#push(found.token.id);
      done = found.end;
    }
    if (done === 0) rest(text);
    else if (done < text.length) rest(text.slice(done));
  }

  #normalized(part: string): void {
    const { normalize, normalized } = this.#definition;
    this.#divide(normalize ? normalize(part) : part, normalized, (text) => this.#words(text));
  }

  #words(part: string): void {
    const { splitter } = this.#definition;
    const text = splitter.addsSpace && part !== '' && !part.startsWith(' ') ? ` ${part}` : part;
    if (text.length > this.#units.length) {
      this.#units = new Uint16Array(text.length);
      this.#bytes = Buffer.from(this.#units.buffer);
    }
    this.#bytes.write(text, 'utf16le');
    splitter.split(this.#units, text.length, this);
  }

  /** One word of the current part. Called by the splitter. */
  word(start: number, end: number): void {
    if (this.#count + ROOM > this.#out.length) this.#grow(ROOM);
    const known = this.#cache.find(this.#units, start, end);
    if (known >= 0) {
      this.#count += this.#cache.read(known, this.#out, this.#count);
      return;
    }
    const first = this.#count;
    this.#encodeWord(start, end);
    this.#cache.write(this.#units, [start, end], this.#out.subarray(first, this.#count));
  }

  #encodeWord(start: number, end: number): void {
    const length = this.#toUtf8(start, end);
    if (this.#count + length > this.#out.length) this.#grow(length);
    const whole = this.#wholeWords.idOf(this.#utf8, length);
    if (whole !== undefined) this.#push(whole);
    else this.#merge(this.#utf8, length);
  }

  /** Appends what the first `length` bytes merge to, for which there is room. */
  #merge(bytes: Uint8Array, length: number): void {
    const { byteTokens, seams } = this.#definition;
    const merger = this.#merger;
    const out = this.#out;
    for (let from = 0; from < length; ) {
      const to = seams.next(bytes, from, length);
      merger.reserve(to - from);
      const { tokens } = merger;
      for (let at = from; at < to; at += 1) tokens[at - from] = byteTokens[bytes[at] ?? 0] ?? 0;
      const count = merger.merge(to - from);
      for (let at = 0; at < count; at += 1) out[this.#count + at] = tokens[at] ?? 0;
      this.#count += count;
      from = to;
    }
  }

  /** Remembers a token that its own merges do not lead to. */
  #keepWhole(token: string, id: number): void {
    const bytes = bytesOfLetters(token);
    if (!bytes || bytes.length > this.#out.length) return;
    this.#count = 0;
    this.#merge(bytes, bytes.length);
    if (this.#count !== 1 || this.#out[0] !== id) this.#wholeWords.add(token, bytes, id);
  }

  /** Writes the bytes of a word. @returns how many */
  #toUtf8(start: number, end: number): number {
    const units = this.#units;
    const length = utf8Length(units, start, end);
    if (length > this.#utf8.length) this.#utf8 = new Uint8Array(length);
    const bytes = this.#utf8;
    let count = 0;
    for (let at = start; at < end; at += 1) {
      const unit = units[at] ?? 0;
      if (unit < 0x80) bytes[count] = unit;
      else if (unit < 0x800) {
        bytes[count] = 0xc0 | (unit >> 6);
        bytes[count + 1] = 0x80 | (unit & 0x3f);
        count += 1;
      } else if ((unit & 0xfc00) === 0xd800) {
        at += 1;
        const point = 0x10000 + ((unit & 0x3ff) << 10) + ((units[at] ?? 0) & 0x3ff);
        bytes[count] = 0xf0 | (point >> 18);
        bytes[count + 1] = 0x80 | ((point >> 12) & 0x3f);
        bytes[count + 2] = 0x80 | ((point >> 6) & 0x3f);
        bytes[count + 3] = 0x80 | (point & 0x3f);
        count += 3;
      } else {
        bytes[count] = 0xe0 | (unit >> 12);
        bytes[count + 1] = 0x80 | ((unit >> 6) & 0x3f);
        bytes[count + 2] = 0x80 | (unit & 0x3f);
        count += 2;
      }
      count += 1;
    }
    return length;
  }

  #push(id: number): void {
    if (this.#count === this.#out.length) this.#grow(1);
    this.#out[this.#count] = id;
    this.#count += 1;
  }

  #grow(more: number): void {
    const larger = new Int32Array(Math.max(this.#out.length * 2, this.#count + more));
    larger.set(this.#out.subarray(0, this.#count));
    this.#out = larger;
  }

  #release(): void {
    this.#merger.release();
    if (this.#utf8.length > KEPT_UNITS) this.#utf8 = new Uint8Array(KEPT_UNITS);
    if (this.#out.length > KEPT_UNITS) this.#out = new Int32Array(KEPT_UNITS);
    if (this.#units.length <= KEPT_UNITS) return;
    this.#units = new Uint16Array(KEPT_UNITS);
    this.#bytes = Buffer.from(this.#units.buffer);
  }
}

/** @throws RangeError when it is more than a word may have */
function utf8Length(units: Uint16Array, start: number, end: number): number {
  let bytes = 0;
  for (let at = start; at < end; at += 1) {
    const unit = units[at] ?? 0;
    // Each half of a surrogate pair has two of its four bytes.
    bytes += unit < 0x80 ? 1 : unit < 0x800 || (unit & 0xf800) === 0xd800 ? 2 : 3;
  }
  if (bytes > MAX_WORD_BYTES)
    throw new RangeError(`a word of ${bytes} bytes without a break: at most ${MAX_WORD_BYTES} are made tokens of`);
  return bytes;
}
