export { vllmDialect } from './dialect.ts';
export { createSimEngine } from './engine.ts';
export type { SimOptions } from './options.ts';
export { bytes4Tokenizer } from './tokenizer.ts';
