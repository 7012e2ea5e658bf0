/**
 * A pattern as a table of states: each code point is looked at once, and long texts need no stack. The match is the one that a
 * backtracking engine finds: a state is the list of places in the pattern that are still possible, the preferred first, and a match
 * drops those behind it (R. Cox, "Regular Expression Matching in the Wild", 2010, on leftmost-first matching with automata).
 */
import { type CodePoints, LAST_CODE_POINT } from './codepoints.ts';
import type { Pattern } from './pattern.ts';
import { Unclaimed } from './unclaimed.ts';

const MAX_STEPS = 4000;
const MAX_STATES = 2000;
const MAX_CLASSES = 255;
/** Far more than any pattern in use needs, so that one which looks ahead again and again cannot hold up the router. */
const LOOKED_AT_PER_UNIT = 64;
const LOOKED_AT_AT_LEAST = 4096;

type Step =
  | { readonly kind: 'take'; readonly of: CodePoints; next: number }
  | { readonly kind: 'ahead'; readonly of: CodePoints; readonly orEnd: boolean; next: number }
  /** The first is preferred. */
  | { readonly kind: 'fork'; readonly to: readonly number[] }
  | { readonly kind: 'match' };

export class Automaton {
  /** Of the last match that `find` found. */
  start = 0;
  end = 0;
  readonly #classOf: Uint8Array;
  /** Rows of states, columns of classes and, last, the end of the text: where the next row begins, times two, plus one for a match here. */
  readonly #table: Int32Array;
  readonly #first: number;
  readonly #atEnd: number;
  #looks = 0;

  /** @throws Unclaimed when the table would be too large */
  constructor(pattern: Pattern) {
    const steps = stepsOf(pattern);
    const { classOf, members } = classesOf(steps);
    this.#classOf = classOf;
    this.#atEnd = members.length;
    this.#table = tableOf(steps, members);
    this.#first = members.length + 1;
  }

  /** To be called once per text of `units`, before its matches are looked for. */
  begin(units: number): void {
    this.#looks = units * LOOKED_AT_PER_UNIT + LOOKED_AT_AT_LEAST;
  }

  /**
   * The first match in `units` from `from` up to `limit`, where the text is taken to end. UTF-16, well formed.
   * @throws RangeError when the pattern looks ahead too often in this text
   */
  find(units: Uint16Array, from: number, limit: number): boolean {
    for (let at = from; at < limit; ) {
      const end = this.#matchEnd(units, at, limit);
      if (end > at) {
        this.start = at;
        this.end = end;
        return true;
      }
      at = this.#skip(units, at, limit);
    }
    return false;
  }

  #matchEnd(units: Uint16Array, from: number, limit: number): number {
    const table = this.#table;
    const classOf = this.#classOf;
    let row = this.#first;
    let end = -1;
    let at = from;
    while (at < limit) {
      let point = units[at] ?? 0;
      let width = 1;
      if ((point & 0xfc00) === 0xd800) {
        point = ((point - 0xd800) << 10) + (units[at + 1] ?? 0) - 0xdc00 + 0x10000;
        width = 2;
      }
      const entry = table[row + (classOf[point] ?? 0)] ?? 0;
      if ((entry & 1) === 1) end = at;
      row = entry >> 1;
      if (row === 0) {
        this.#spend(at - from);
        return end;
      }
      at += width;
    }
    this.#spend(at - from);
    return ((table[row + this.#atEnd] ?? 0) & 1) === 1 ? limit : end;
  }

  /**
   * Where to try next after no match began at `from`: none begins at a later place either from which the states would be those that
   * were gone through already. Without this a long run of white space would be walked once from each of its places.
   */
  #skip(units: Uint16Array, from: number, limit: number): number {
    let row = this.#first;
    let at = from;
    while (at < limit) {
      let point = units[at] ?? 0;
      let width = 1;
      if ((point & 0xfc00) === 0xd800) {
        point = ((point - 0xd800) << 10) + (units[at + 1] ?? 0) - 0xdc00 + 0x10000;
        width = 2;
      }
      const column = this.#classOf[point] ?? 0;
      row = (this.#table[row + column] ?? 0) >> 1;
      if (at > from && row !== (this.#table[this.#first + column] ?? 0) >> 1) return at;
      at += width;
      if (row === 0) return at;
    }
    return at;
  }

  #spend(looks: number): void {
    this.#looks -= looks;
    if (this.#looks < 0) throw new RangeError(`a pattern of the tokenizer looks at this text more than ${LOOKED_AT_PER_UNIT} times over`);
  }
}

function stepsOf(pattern: Pattern): Step[] {
  const steps: Step[] = [];
  const add = (step: Step): number => {
    if (steps.length >= MAX_STEPS) throw new Unclaimed(`a pattern of more than ${MAX_STEPS} steps`);
    return steps.push(step) - 1;
  };
  /** Steps for `part`, which go on to `next`. @returns the first of them */
  const build = (part: Pattern, next: number): number => {
    switch (part.kind) {
      case 'one':
        return add({ kind: 'take', of: part.of, next });
      case 'ahead':
        return add({ kind: 'ahead', of: part.of, orEnd: part.orEnd, next });
      case 'all':
        return part.parts.reduceRight((after, one) => build(one, after), next);
      case 'either':
        return add({ kind: 'fork', to: part.parts.map((one) => build(one, next)) });
      case 'repeat':
        return repeat(part, next);
    }
  };
  const repeat = ({ part, least, most }: Extract<Pattern, { kind: 'repeat' }>, next: number): number => {
    let first = next;
    if (most === Number.POSITIVE_INFINITY) {
      const to = [-1, next];
      first = add({ kind: 'fork', to });
      to[0] = build(part, first);
    } else {
      for (let count = least; count < most; count += 1) first = add({ kind: 'fork', to: [build(part, first), next] });
    }
    for (let count = 0; count < least; count += 1) first = build(part, first);
    return first;
  };
  const first = build(pattern, add({ kind: 'match' }));
  // The table begins with the first step.
  return [{ kind: 'fork', to: [first + 1] }, ...steps.map((step) => shifted(step))];
}

function shifted(step: Step): Step {
  switch (step.kind) {
    case 'fork':
      return { kind: 'fork', to: step.to.map((at) => at + 1) };
    case 'match':
      return step;
    case 'take':
    case 'ahead':
      return { ...step, next: step.next + 1 };
  }
}

/** Code points that no step tells apart are one class. */
function classesOf(steps: readonly Step[]): { classOf: Uint8Array; members: readonly number[] } {
  const sets = new Set(steps.flatMap((step) => (step.kind === 'take' || step.kind === 'ahead' ? [step.of] : [])));
  const borders = new Map<number, Set<CodePoints>>();
  for (const set of sets) {
    for (const [first, last] of set.ranges) {
      for (const border of [first, last + 1]) borders.set(border, (borders.get(border) ?? new Set()).add(set));
    }
  }
  const order = new Map([...sets].map((set, index) => [set, index] as const));
  const classOf = new Uint8Array(LAST_CODE_POINT + 1);
  const known = new Map<string, number>();
  const members: number[] = [];
  const inside = new Set<number>();
  const points = [...new Set([0, ...borders.keys()])].filter((point) => point <= LAST_CODE_POINT).sort((a, b) => a - b);
  for (const [index, point] of points.entries()) {
    for (const set of borders.get(point) ?? []) {
      const at = order.get(set) ?? 0;
      if (!inside.delete(at)) inside.add(at);
    }
    const signature = [...inside].sort((a, b) => a - b).join();
    let name = known.get(signature);
    if (name === undefined) {
      if (members.length >= MAX_CLASSES) throw new Unclaimed(`a pattern that tells more than ${MAX_CLASSES} kinds of characters apart`);
      name = members.push(point) - 1;
      known.set(signature, name);
    }
    classOf.fill(name, point, points[index + 1] ?? LAST_CODE_POINT + 1);
  }
  return { classOf, members };
}

/** @param members one code point of each class */
function tableOf(steps: readonly Step[], members: readonly number[]): Int32Array {
  const width = members.length + 1;
  const names = new Map<string, number>([['', 0]]);
  const states: (readonly number[])[] = [[]];
  const nameOf = (state: readonly number[]): number => {
    const key = state.join();
    const known = names.get(key);
    if (known !== undefined) return known;
    if (states.length >= MAX_STATES) throw new Unclaimed(`a pattern of more than ${MAX_STATES} states`);
    names.set(key, states.length);
    return states.push(state) - 1;
  };
  nameOf([0]);
  const rows: number[][] = [Array.from({ length: width }, () => 0)];
  for (let state = 1; state < states.length; state += 1) {
    const places = states[state] ?? [];
    const columns = [...members, null].map((point) => follow(steps, places, point));
    rows.push(columns.map(({ places: next, matched }) => nameOf(next) * width * 2 + (matched ? 1 : 0)));
  }
  return Int32Array.from(rows.flat());
}

/** What remains possible after `point`, null being the end of the text, and whether there is a match before it. */
function follow(steps: readonly Step[], places: readonly number[], point: number | null): { places: readonly number[]; matched: boolean } {
  const next: number[] = [];
  const seen = new Set<number>();
  const pending = [...places].reverse();
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    const step = steps[at];
    if (seen.has(at) || !step) continue;
    seen.add(at);
    switch (step.kind) {
      case 'match':
        return { places: next, matched: true };
      case 'fork':
        pending.push(...[...step.to].reverse());
        break;
      case 'ahead':
        if (point === null ? step.orEnd : step.of.has(point)) pending.push(step.next);
        break;
      case 'take':
        if (point !== null && step.of.has(point) && !next.includes(step.next)) next.push(step.next);
        break;
    }
  }
  return { places: next, matched: false };
}
