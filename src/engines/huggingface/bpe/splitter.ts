/** How a text is cut into the words that are merged, each on its own: the `pre_tokenizer` of tokenizer.json. */
import { z } from 'zod';
import { Automaton } from './automaton.ts';
import { numericCodePoints } from './categories.ts';
import { type Pattern, readPattern } from './pattern.ts';
import { Unclaimed } from './unclaimed.ts';

/** What `ByteLevel` splits by when it is told to: GPT-2's. */
const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

const byteLevel = z.object({
  type: z.literal('ByteLevel'),
  add_prefix_space: z.boolean().default(true),
  use_regex: z.boolean().default(true),
});
const split = z.object({
  type: z.literal('Split'),
  pattern: z.object({ Regex: z.string() }),
  behavior: z.enum(['Isolated', 'Removed']),
  invert: z.boolean(),
});
const digits = z.object({ type: z.literal('Digits'), individual_digits: z.boolean() });
const step = z.discriminatedUnion('type', [byteLevel, split, digits]);
const sequence = z.object({ type: z.literal('Sequence'), pretokenizers: z.array(step).min(1).max(16) });
const preTokenizer = z.union([step, sequence]);

interface Stage {
  readonly automaton: Automaton;
  /** Whether what stands between two matches is a word too. */
  readonly keepsGaps: boolean;
}

export interface Words {
  word(start: number, end: number): void;
}

export class Splitter {
  /** Whether a text that does not begin with a space gets one. */
  readonly addsSpace: boolean;
  readonly #stages: readonly Stage[];

  /** @throws Unclaimed with the reason */
  constructor(json: unknown) {
    const read = preTokenizer.safeParse(json);
    if (!read.success) throw new Unclaimed('the pre-tokenizer');
    const steps = read.data.type === 'Sequence' ? read.data.pretokenizers : [read.data];
    const last = steps.at(-1);
    if (last?.type !== 'ByteLevel') throw new Unclaimed('a pre-tokenizer that does not end with ByteLevel');
    if (last.add_prefix_space && steps.length > 1) throw new Unclaimed('a space that is added to each part');
    this.addsSpace = last.add_prefix_space;
    this.#stages = steps.flatMap((one, index) => {
      if (one.type === 'ByteLevel' && index < steps.length - 1) throw new Unclaimed('ByteLevel before the end of the pre-tokenizers');
      return stagesOf(one);
    });
  }

  /** Tells `words` of each word of the first `length` units, in order. */
  split(units: Uint16Array, length: number, words: Words): void {
    for (const { automaton } of this.#stages) automaton.begin(length);
    this.#cut(units, [0, length], { stage: 0, words });
  }

  #cut(units: Uint16Array, [from, to]: readonly [number, number], rest: { readonly stage: number; readonly words: Words }): void {
    if (from >= to) return;
    const stage = this.#stages[rest.stage];
    if (stage === undefined) {
      rest.words.word(from, to);
      return;
    }
    const { automaton, keepsGaps } = stage;
    const deeper = { stage: rest.stage + 1, words: rest.words };
    const last = deeper.stage === this.#stages.length;
    let done = from;
    while (automaton.find(units, done, to)) {
      const { start, end } = automaton;
      if (keepsGaps && start > done) this.#cut(units, [done, start], deeper);
      if (last) rest.words.word(start, end);
      else this.#cut(units, [start, end], deeper);
      done = end;
    }
    if (keepsGaps && done < to) this.#cut(units, [done, to], deeper);
  }
}

function stagesOf(one: z.output<typeof step>): Stage[] {
  switch (one.type) {
    case 'ByteLevel':
      return one.use_regex ? [{ automaton: new Automaton(readPattern(GPT2)), keepsGaps: true }] : [];
    case 'Digits': {
      const digit: Pattern = { kind: 'one', of: numericCodePoints() };
      const number: Pattern = { kind: 'repeat', part: digit, least: 1, most: Number.POSITIVE_INFINITY };
      return [{ automaton: new Automaton(one.individual_digits ? digit : number), keepsGaps: true }];
    }
    case 'Split': {
      // Removed and inverted: what is no match is removed.
      if ((one.behavior === 'Removed') !== one.invert) throw new Unclaimed(`splits that are ${one.behavior}`);
      return [{ automaton: new Automaton(readPattern(one.pattern.Regex)), keepsGaps: !one.invert }];
    }
  }
}
