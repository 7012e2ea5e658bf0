/** Models as Hugging Face keeps them: tokenizer and chat template. */
export { BYTE_LETTERS } from './bytealphabet.ts';
export { loadHuggingFaceTokenizer } from './tokenizer.ts';
