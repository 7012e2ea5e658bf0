/** Texts for the tokenizer bench, the same on every machine: this repository's own, and others drawn from a seed. Pure. */
import { SAMPLE_TEXTS } from '../../src/engines/huggingface/bpe/sampletexts.fixture.ts';

export const TEXT_KINDS = ['prose', 'code', 'json', 'cjk'] as const;
export type TextKind = (typeof TEXT_KINDS)[number];

const WORDS = 'cache block router prefill decode token engine prompt stream answer name count bytes first last lease model queue'.split(
  ' ',
);

/** Records as APIs send them, `length` characters or more. */
export function jsonText(length: number, random: () => number): string {
  const pick = () => WORDS[Math.floor(random() * WORDS.length)] ?? '';
  const records: object[] = [];
  for (let size = 0; size < length; size += 120) {
    const number = Math.floor(random() * 1e6);
    records.push({
      id: `${pick()}-${number}`,
      [pick()]: random() * 100,
      tags: [pick(), pick()],
      ok: random() < 0.5,
      text: `${pick()} ${pick()}\n`,
    });
  }
  return JSON.stringify(records);
}

/** Chinese and Japanese in clauses of 4 to 16 characters, each of pieces that stand in the sample texts, so that clauses do not repeat. */
export function cjkText(length: number, random: () => number): string {
  const source = SAMPLE_TEXTS.join('').replace(/[^\u3040-\u30ff\u4e00-\u9fff]/g, '');
  let text = '';
  while (text.length < length) {
    const until = text.length + 4 + random() * 12;
    while (text.length < until) {
      const at = Math.floor(random() * (source.length - 4));
      text += source.slice(at, at + 1 + Math.floor(random() * 4));
    }
    text += random() < 0.3 ? '。' : '，';
  }
  return text;
}

/** What takes longest, `length` characters of each: words without an end, runs of one character, almost special tokens. */
export function hardTexts(length: number, random: () => number): Readonly<Record<string, string>> {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
  const of = (part: string) => part.repeat(Math.ceil(length / part.length)).slice(0, length);
  return {
    oneLetter: of('a'),
    randomLetters: Array.from({ length }, () => letters[Math.floor(random() * letters.length)]).join(''),
    spaces: of(' '),
    spacesAndLetters: of(`${' '.repeat(1000)}x`),
    ideographs: cjkText(length, random).replace(/[，。]/g, '请'),
    specialTokens: of('<|im_start'),
    ordinary: of(SAMPLE_TEXTS.join('\n')),
  };
}
