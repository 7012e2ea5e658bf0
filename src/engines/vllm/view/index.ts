/** What a vLLM holds and how loaded it is. A face of its own: it brings a native library, and is loaded while vLLM loads its model. */
export { openView } from './view.ts';
