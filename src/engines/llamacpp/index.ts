/** The embedded engine: llama.cpp on CPU, with blocks, events, hand-off and resumable sampling. */
export { createLlamaCppEngine } from './engine.ts';
export { readGguf } from './gguf.ts';
export type { LlamaCppOptions } from './options.ts';
export { ensureTinyModel } from './tinymodel.ts';
export { loadGgufTokenizer } from './tokenizer.ts';
