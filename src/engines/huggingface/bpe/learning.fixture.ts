/** Learns merges as byte-level BPE is trained: again and again the pair that stands side by side most often. */

type Pair = readonly [left: string, right: string];

interface Word {
  parts: string[];
  readonly count: number;
}

/** @param words with how often each stands in the texts */
export function learnMerges(
  words: ReadonlyMap<string, number>,
  { merges, padded }: { readonly merges: number; readonly padded: number },
): Pair[] {
  const learner = new Learner(words);
  const learned: Pair[] = [];
  while (learned.length < merges) {
    const pair = learner.mostFrequent();
    if (pair === null) break;
    learner.merge(pair);
    learned.push(pair);
  }
  pad(learned, padded);
  return learned;
}

class Learner {
  readonly #words: Word[];
  /** By `left right`: how often, and in which words it was at some time. */
  readonly #pairs = new Map<string, { count: number; readonly words: Set<number> }>();

  constructor(words: ReadonlyMap<string, number>) {
    this.#words = [...words].map(([letters, count]) => ({ parts: Array.from(letters), count }));
    for (const index of this.#words.keys()) this.#count(index, 1);
  }

  /** Of equally frequent ones the first by spelling, so that the result does not hang on an order; null when there is none. */
  mostFrequent(): Pair | null {
    let best = '';
    let most = 0;
    for (const [pair, { count }] of this.#pairs) {
      if (count < most || (count === most && pair >= best) || count < 1) continue;
      best = pair;
      most = count;
    }
    const [left, right] = best.split(' ');
    return left !== undefined && right !== undefined ? [left, right] : null;
  }

  merge([left, right]: Pair): void {
    for (const index of this.#pairs.get(`${left} ${right}`)?.words ?? []) {
      const word = this.#words[index];
      if (!word) continue;
      this.#count(index, -1);
      const parts: string[] = [];
      for (let at = 0; at < word.parts.length; at += 1) {
        const both = word.parts[at] === left && word.parts[at + 1] === right;
        parts.push(both ? left + right : (word.parts[at] ?? ''));
        if (both) at += 1;
      }
      word.parts = parts;
      this.#count(index, 1);
    }
    this.#pairs.delete(`${left} ${right}`);
  }

  #count(index: number, sign: 1 | -1): void {
    const word = this.#words[index];
    if (!word) return;
    for (let at = 0; at + 1 < word.parts.length; at += 1) {
      const pair = `${word.parts[at]} ${word.parts[at + 1]}`;
      const known = this.#pairs.get(pair) ?? { count: 0, words: new Set<number>() };
      known.count += sign * word.count;
      known.words.add(index);
      if (known.count > 0) this.#pairs.set(pair, known);
      else this.#pairs.delete(pair);
    }
  }
}

/** Pairs of learned tokens that seldom meet, until there are `size`. */
function pad(learned: Pair[], size: number): void {
  const tokens = learned.map(([left, right]) => left + right);
  const known = new Set(tokens);
  const pairs = new Set(learned.map((pair) => pair.join(' ')));
  for (let step = 1; step < tokens.length && learned.length < size; step += 1) {
    for (let at = 0; at < tokens.length && learned.length < size; at += 1) {
      const [left = '', right = ''] = [tokens[at], tokens[(at * 7 + step) % tokens.length]];
      if (known.has(left + right) || pairs.has(`${left} ${right}`)) continue;
      known.add(left + right);
      learned.push([left, right]);
    }
  }
}
