/**
 * Reads the regular expressions of tokenizer.json, as Oniguruma does with Ruby's syntax. Only what can be told to mean the same here is
 * read; anything else is `Unclaimed`.
 */
import { categoryOf, WHITE_SPACE } from './categories.ts';
import { CodePoints, type Range } from './codepoints.ts';
import { Unclaimed } from './unclaimed.ts';

export type Pattern =
  | { readonly kind: 'one'; readonly of: CodePoints }
  | { readonly kind: 'all'; readonly parts: readonly Pattern[] }
  /** The first that leads to a match is taken, as in every backtracking engine. */
  | { readonly kind: 'either'; readonly parts: readonly Pattern[] }
  /** As often as possible. `most` is Infinity where there is no bound. */
  | { readonly kind: 'repeat'; readonly part: Pattern; readonly least: number; readonly most: number }
  /** What stands next, without taking it. */
  | { readonly kind: 'ahead'; readonly of: CodePoints; readonly orEnd: boolean };

/** Where letters of either case are meant: only these texts, whose foldings were tried with every code point. ſ is a small s. */
const CASELESS: Readonly<Record<string, string>> = {
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)": "(?:'[sSſ]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])",
  '(?i:[sdmt]|ll|ve|re)': '(?:[sSſdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])',
};

const MAX_LENGTH = 10_000;
const MAX_REPEATS = 1000;
const MAX_DEPTH = 50;
const CONTROL: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t' };

/** @throws Unclaimed with the reason */
export function readPattern(source: string): Pattern {
  if (source.length > MAX_LENGTH) throw new Unclaimed(`a pattern of ${source.length} characters`);
  const reader = new Reader(source);
  const pattern = reader.either(0);
  if (!reader.atEnd) reader.refuse();
  if (canBeEmpty(pattern)) throw new Unclaimed(`the pattern ${source} also matches nothing`);
  return pattern;
}

export function canBeEmpty(pattern: Pattern): boolean {
  switch (pattern.kind) {
    case 'one':
      return false;
    case 'ahead':
      return true;
    case 'all':
      return pattern.parts.every(canBeEmpty);
    case 'either':
      return pattern.parts.some(canBeEmpty);
    case 'repeat':
      return pattern.least === 0 || canBeEmpty(pattern.part);
  }
}

class Reader {
  readonly #letters: readonly string[];
  #at = 0;

  constructor(source: string) {
    this.#letters = Array.from(source);
  }

  get atEnd(): boolean {
    return this.#at >= this.#letters.length;
  }

  refuse(): never {
    throw new Unclaimed(`the pattern ${this.#letters.join('')} at its character ${this.#at + 1}`);
  }

  either(depth: number): Pattern {
    if (depth > MAX_DEPTH) this.refuse();
    const parts = [this.#all(depth)];
    while (this.#takes('|')) parts.push(this.#all(depth));
    return parts.length === 1 && parts[0] ? parts[0] : { kind: 'either', parts };
  }

  #all(depth: number): Pattern {
    const parts: Pattern[] = [];
    while (!this.atEnd && this.#next !== '|' && this.#next !== ')') parts.push(this.#repeated(this.#atom(depth)));
    return { kind: 'all', parts };
  }

  #atom(depth: number): Pattern {
    for (const [caseless, plain] of Object.entries(CASELESS)) if (this.#takes(caseless)) return new Reader(plain).either(depth + 1);
    if (this.#takes('(?!')) return this.#ahead(true);
    if (this.#takes('(?=')) return this.#ahead(false);
    if (this.#takes('(?:') || (this.#next === '(' && this.#letters[this.#at + 1] !== '?' && this.#takes('('))) {
      const inside = this.either(depth + 1);
      if (!this.#takes(')')) this.refuse();
      return inside;
    }
    // Before a line's end, or at the end of the text even after a line's end.
    if (this.#takes('$')) return { kind: 'ahead', of: CodePoints.ofLetters('\n'), orEnd: true };
    return { kind: 'one', of: this.#one() };
  }

  #ahead(negative: boolean): Pattern {
    const of = this.#one();
    if (!this.#takes(')')) this.refuse();
    return { kind: 'ahead', of: negative ? of.complement() : of, orEnd: negative };
  }

  /** A part and its quantifier. Behind an interval a plus makes nothing possessive: it repeats the interval. */
  #repeated(part: Pattern): Pattern {
    const bounds = this.#bounds();
    if (bounds === null) return part;
    const [least, most, isInterval] = bounds;
    if (canBeEmpty(part)) this.refuse();
    const repeated: Pattern = { kind: 'repeat', part, least, most };
    const plus = this.#takes('+');
    if ('?*+{'.includes(this.#next ?? ' ')) this.refuse();
    if (!plus) return repeated;
    if (!isInterval) return this.#possessive(part, least, most);
    if (least === 0) this.refuse();
    return { kind: 'repeat', part: repeated, least: 1, most: Number.POSITIVE_INFINITY };
  }

  #bounds(): readonly [least: number, most: number, isInterval: boolean] | null {
    if (this.#takes('?')) return [0, 1, false];
    if (this.#takes('*')) return [0, Number.POSITIVE_INFINITY, false];
    if (this.#takes('+')) return [1, Number.POSITIVE_INFINITY, false];
    if (this.#next !== '{') return null;
    const interval = /^\{(\d{1,4})(,?)(\d{0,4})\}/.exec(this.#letters.slice(this.#at, this.#at + 12).join(''));
    if (!interval) this.refuse();
    const [text, low, comma, high] = interval;
    const least = Number(low);
    const most = comma === '' ? least : high === '' ? Number.POSITIVE_INFINITY : Number(high);
    if (most < least || most === 0 || least > MAX_REPEATS || (most > MAX_REPEATS && most !== Number.POSITIVE_INFINITY)) this.refuse();
    this.#at += text.length;
    return [least, most, true];
  }

  /** All there are and none given back: as often as possible, and then none of them follows. */
  #possessive(part: Pattern, least: number, most: number): Pattern {
    if (part.kind !== 'one') this.refuse();
    const noneFollows: Pattern = { kind: 'ahead', of: part.of.complement(), orEnd: true };
    if (most !== 1) return { kind: 'all', parts: [{ kind: 'repeat', part, least, most }, noneFollows] };
    return { kind: 'either', parts: [part, noneFollows] };
  }

  /** A pattern for one code point. */
  #one(): CodePoints {
    const letter = this.#take();
    if (letter === '[') return this.#class();
    if (letter === '\\') return this.#escape();
    if ('^.?*+{}()|]$'.includes(letter)) this.refuse();
    return CodePoints.ofLetters(letter);
  }

  /** What stands between brackets. */
  #class(): CodePoints {
    const negative = this.#takes('^');
    const ranges: Range[] = [];
    let before: number | null = null;
    for (let first = true; ; first = false) {
      if (this.atEnd || (first && this.#next === ']')) this.refuse();
      if (this.#takes(']')) break;
      if (this.#next === '-' && before !== null && this.#letters[this.#at + 1] !== ']') {
        this.#at += 1;
        const last = this.#single(this.#classMember());
        if (last < before) this.refuse();
        ranges.push([before, last]);
        before = null;
        // What another '-' would mean here is not for us to guess.
        if (this.#next === '-' && this.#letters[this.#at + 1] !== ']') this.refuse();
        continue;
      }
      if (this.#next === '-' && before === null && !first && this.#letters[this.#at + 1] !== ']') this.refuse();
      const member = this.#classMember();
      ranges.push(...member.ranges);
      before = singleOf(member);
    }
    const inside = CodePoints.of(ranges);
    return negative ? inside.complement() : inside;
  }

  #classMember(): CodePoints {
    const letter = this.#take();
    if (letter === '\\') return this.#escape();
    if (letter === '[' || (letter === '&' && this.#next === '&')) this.refuse();
    return CodePoints.ofLetters(letter);
  }

  #single(points: CodePoints): number {
    return singleOf(points) ?? this.refuse();
  }

  #escape(): CodePoints {
    const letter = this.#take();
    if (letter === 's') return WHITE_SPACE;
    if (letter === 'S') return WHITE_SPACE.complement();
    if (letter === 'p' || letter === 'P') return this.#category(letter === 'P');
    const control = Object.hasOwn(CONTROL, letter) ? CONTROL[letter] : undefined;
    if (control !== undefined) return CodePoints.ofLetters(control);
    // Letters and digits behind a backslash have meanings that are not read here.
    if (!/^[!-/:-@[-`{-~ ]$/.test(letter)) this.refuse();
    return CodePoints.ofLetters(letter);
  }

  #category(negative: boolean): CodePoints {
    const name = /^\{([A-Za-z]{1,2})\}/.exec(this.#letters.slice(this.#at, this.#at + 4).join(''))?.[1];
    const points = name === undefined ? null : categoryOf(name);
    if (name === undefined || points === null) this.refuse();
    this.#at += name.length + 2;
    return negative ? points.complement() : points;
  }

  get #next(): string | undefined {
    return this.#letters[this.#at];
  }

  #take(): string {
    const letter = this.#letters[this.#at];
    if (letter === undefined) this.refuse();
    this.#at += 1;
    return letter;
  }

  #takes(text: string): boolean {
    for (let index = 0; index < text.length; index += 1) if (this.#letters[this.#at + index] !== text[index]) return false;
    this.#at += text.length;
    return true;
  }
}

function singleOf(points: CodePoints): number | null {
  const [range, ...others] = points.ranges;
  return range && others.length === 0 && range[0] === range[1] ? range[0] : null;
}
