/** What an SGLang holds and how loaded it is. A face of its own: it brings a native library, and is loaded while SGLang loads its model. */
export { openView } from './view.ts';
