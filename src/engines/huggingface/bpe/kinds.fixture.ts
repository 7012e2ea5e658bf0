/** One tokenizer for each kind of pre-tokenizer, which between them have every option that is claimed. */
import { BOS_AND_EOS, PRE_TOKENIZERS, trainedTokenizer } from './trained.fixture.ts';

const PLAIN = [
  { content: '<tool_call>', special: false },
  { content: '<|im', special: false },
  { content: 'naïveté', special: false, normalized: true },
  { content: '<think>', special: false, normalized: true },
];
const ADDED = [
  PLAIN,
  [
    ...PLAIN,
    { content: '<mask>', lstrip: true },
    { content: '[R]', rstrip: true },
    { content: '[B]', lstrip: true, rstrip: true, special: false, normalized: true },
  ],
  [
    ...PLAIN,
    { content: '    ', special: false, normalized: true },
    { content: '  ', special: false },
    { content: '\n\n\n', special: false },
  ],
];
const NORMALIZERS = [null, { type: 'NFC' }, { type: 'Sequence', normalizers: [{ type: 'NFC' }] }, { type: 'Sequence', normalizers: [] }];

/** By name. */
export function kindsOfTokenizers(): Readonly<Record<string, ReturnType<typeof trainedTokenizer>>> {
  return Object.fromEntries(
    Object.entries(PRE_TOKENIZERS).map(([name, preTokenizer], index) => {
      const wanted = {
        wholeWords: index % 2 === 0,
        pairs: index % 3 === 0,
        normalizer: NORMALIZERS[index % NORMALIZERS.length] ?? null,
        added: ADDED[index % ADDED.length] ?? [],
        postProcessor: index % 5 < 2 ? BOS_AND_EOS : null,
      };
      return [name, trainedTokenizer(preTokenizer, wanted)];
    }),
  );
}
