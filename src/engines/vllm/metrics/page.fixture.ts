/** Metrics pages that a real vLLM 0.32.0 served. */
import { readFileSync } from 'node:fs';

export const DECODE_PAGE = read('metrics-decode.txt');
export const PREFILL_PAGE = read('metrics-prefill.txt');

function read(name: string): string {
  return readFileSync(new URL(`../fixtures/${name}`, import.meta.url), 'utf8');
}

/** The page with other values: every sample of a name, given without `vllm:`, gets the value. */
export function withValues(page: string, values: Readonly<Record<string, number | string>>): string {
  return Object.entries(values).reduce((text, [name, value]) => {
    const lines = new RegExp(`^(vllm:${name}(?:\\{.*\\})?) .*$`, 'gm');
    if (!lines.test(text)) throw new Error(`the page has no vllm:${name}`);
    return text.replace(lines, `$1 ${value}`);
  }, page);
}
