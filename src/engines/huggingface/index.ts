/** Models as Hugging Face keeps them: tokenizer and chat template. */
export { readBpe } from './bpe/definition.ts';
export { BpeEncoder } from './bpe/encoder.ts';
export { BYTE_LETTERS } from './bytealphabet.ts';
export { byteLevelTokenizer } from './bytelevel.ts';
export { loadHuggingFaceTokenizer } from './tokenizer.ts';
