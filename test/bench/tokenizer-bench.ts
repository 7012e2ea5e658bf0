/**
 * The tokenizer bench: our encoder for byte-level BPE against Hugging Face's library in JavaScript, which the router used before, with the
 * same tokenizer.json: Llama 3's pre-tokenizer, merges learned from this repository, and others beside them up to the size of a real one.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { Tokenizer as Library } from '@huggingface/tokenizers';
import { SAMPLE_TEXTS } from '../../src/engines/huggingface/bpe/sampletexts.fixture.ts';
import { PRE_TOKENIZERS, trainedTokenizer } from '../../src/engines/huggingface/bpe/trained.fixture.ts';
import { BpeEncoder, readBpe } from '../../src/engines/huggingface/index.ts';
import { seededRandom } from './arrivals.ts';
import { describeMachine } from './machine.ts';
import type { BenchOptions } from './options.ts';
import type { Progress } from './progress.ts';
import { compare, rotate, type Sample } from './ratio.ts';
import type { Report } from './report.ts';
import { cjkText, hardTexts, jsonText, TEXT_KINDS, type TextKind } from './tokenizer-texts.ts';

const LENGTHS = [200, 2_000, 20_000] as const;
const LONGEST = 20_000;
const LEARNED_MERGES = 6_000;
const ALL_MERGES = 120_000;
/** CPU per figure, so that the clock's grain does not show. */
const MEASURED_US = 30_000;
const HARD_LENGTH = 2 ** 20;
const OURS = 'sluice';

interface Contender {
  readonly name: string;
  encode(text: string): ArrayLike<number>;
  /** Forgets the words that it knows. */
  forget(): void;
}

export async function benchTokenizer(options: BenchOptions, progress: Progress): Promise<Report> {
  progress.step('learning merges');
  const texts = readTexts();
  const contenders = contendersOf(texts);
  const samples: Sample[] = [];
  // The first round is for the compiler.
  for (let repeat = -1; repeat < options.runs; repeat += 1) {
    progress.step(repeat < 0 ? 'warming up' : `run ${repeat + 1}/${options.runs}`);
    for (const kind of TEXT_KINDS) {
      for (const length of LENGTHS) {
        const text = partOf(texts[kind], length, repeat);
        checkSame(contenders, text);
        for (const contender of rotate(contenders, Math.max(0, repeat))) {
          for (const temperature of ['cold', 'warm'] as const) {
            const value = usPerCharacter(contender, text, temperature);
            if (repeat >= 0) samples.push({ repeat, contender: contender.name, metric: `${kind}.${length}.${temperature}`, value });
          }
        }
      }
    }
    if (repeat >= 0) samples.push(...measureHard(contenders[0], repeat));
  }
  return reportOf(samples, options.runs);
}

/** A different part in each repeat. */
function partOf(text: string, length: number, repeat: number): string {
  const start = ((repeat + 1) * 7_919) % Math.max(1, text.length - length);
  return text.slice(start, start + length);
}

function usPerCharacter(contender: Contender, text: string, temperature: 'cold' | 'warm'): number {
  contender.encode(text);
  const before = process.cpuUsage();
  let rounds = 0;
  let spent = 0;
  while (spent < MEASURED_US) {
    for (let batch = 0; batch < Math.ceil(LONGEST / text.length); batch += 1) {
      if (temperature === 'cold') contender.forget();
      contender.encode(text);
      rounds += 1;
    }
    const { user, system } = process.cpuUsage(before);
    spent = user + system;
  }
  return spent / (rounds * text.length);
}

/** Milliseconds of CPU for 1 MiB of characters: for so long, or longer on a busy machine, the router does nothing else. */
function measureHard(ours: Contender, repeat: number): Sample[] {
  return Object.entries(hardTexts(HARD_LENGTH, seededRandom(repeat))).map(([name, text]) => {
    ours.forget();
    const before = process.cpuUsage();
    ours.encode(text);
    const { user, system } = process.cpuUsage(before);
    return { repeat, contender: OURS, metric: `hard.${name}`, value: (user + system) / 1000 };
  });
}

function checkSame([ours, library]: readonly [Contender, Contender], text: string): void {
  const [own, other] = [Array.from(ours.encode(text)), Array.from(library.encode(text))];
  if (own.length === other.length && own.every((id, at) => id === other[at])) return;
  throw new Error(`the tokenizers differ about ${JSON.stringify(text.slice(0, 80))}…`);
}

function contendersOf(texts: Readonly<Record<TextKind, string>>): readonly [Contender, Contender] {
  const json = trainedTokenizer(PRE_TOKENIZERS['llama3'] ?? {}, {
    merges: LEARNED_MERGES,
    padded: ALL_MERGES,
    wholeWords: true,
    texts: [...SAMPLE_TEXTS, ...Object.values(texts)],
  });
  const definition = readBpe(json);
  if ('unclaimed' in definition) throw new Error(`the bench's own tokenizer is not claimed: ${definition.unclaimed}`);
  const encoder = new BpeEncoder(definition);
  const library = new Library(json, {});
  const { model } = library;
  if (!model || !('clear_cache' in model) || typeof model.clear_cache !== 'function') {
    throw new Error('the library has no cache to clear any more: the bench must be made for this version');
  }
  const clear: () => void = model.clear_cache.bind(model);
  return [
    { name: OURS, encode: (text) => encoder.encode(text, true), forget: () => encoder.forgetWords() },
    { name: 'library', encode: (text) => library.encode(text).ids, forget: clear },
  ];
}

function readTexts(): Readonly<Record<TextKind, string>> {
  const root = new URL('../../', import.meta.url);
  const read = (folder: string, end: string) =>
    readdirSync(new URL(folder, root), { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith(end))
      .sort()
      .map((path) => readFileSync(new URL(`${folder}/${path}`, root), 'utf8'))
      .join('\n');
  return {
    prose: read('docs', '.md'),
    code: read('src/router', '.ts'),
    json: jsonText(4 * LONGEST, seededRandom(1)),
    cjk: cjkText(4 * LONGEST, seededRandom(2)),
  };
}

function reportOf(samples: readonly Sample[], runs: number): Report {
  const { ratio, absolute, omitted } = compare(samples, OURS);
  const units = samples.map(
    ({ metric }) => [metric, metric.startsWith('hard.') ? 'CPU ms per Mi characters' : 'us per character'] as const,
  );
  const { version } = JSON.parse(readFileSync(new URL('../../node_modules/@huggingface/tokenizers/package.json', import.meta.url), 'utf8'));
  return {
    name: 'tokenizer',
    ratio,
    baseline: { library: `@huggingface/tokenizers ${version}` },
    runs,
    machine: describeMachine(),
    absolute,
    units: Object.fromEntries(units),
    notes: [
      'CPU per character; cold: words that were seen before are forgotten each time; warm: the same text again',
      `hard: texts made to take long, ours alone, ${HARD_LENGTH} characters at once`,
      ...omitted,
    ],
  };
}
