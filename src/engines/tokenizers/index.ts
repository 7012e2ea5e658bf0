/** The tokenizers of all engines. A face of its own: a router needs nothing else of what engines do. */
export { loadTokenizer } from './tokenizers.ts';
