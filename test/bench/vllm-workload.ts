/** What the vLLM benches ask: the traces of this repository at the scale of a small machine. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { completionBody } from './bodies.ts';
import { atRate, promptsOf, readTrace, type ScaledRequest, scaleTrace } from './trace.ts';
import { BLOCK_TOKENS, MODEL } from './vllm-deployment.ts';
import type { Planned } from './vllm-replay.ts';

/** Makes blocks of 512 tokens blocks of vLLM's 32. */
export const DIVISOR = 512 / BLOCK_TOKENS;

export interface Workload {
  readonly name: 'conversations' | 'documents';
  readonly requests: readonly ScaledRequest[];
}

export function readWorkloads(): Workload[] {
  return (['conversations', 'documents'] as const).map((name, index) => {
    const file = fileURLToPath(new URL(`../data/mooncake-${name}.jsonl`, import.meta.url));
    const scaled = scaleTrace(readTrace(readFileSync(file, 'utf8')), DIVISOR, index + 1);
    // Questions about one document do not wait for each other.
    return { name, requests: name === 'documents' ? scaled.map((request) => ({ ...request, after: null })) : scaled };
  });
}

let salts = 0;

/** Requests at a rate, with prompts that nobody has seen: same lengths and structure, other bytes each time. */
export function freshPlan({ requests }: Workload, ratePerSecond: number, seconds: number): Planned[] {
  salts += 1;
  const prompt = promptsOf(salts, BLOCK_TOKENS);
  return atRate(requests, ratePerSecond, seconds).map((request) => ({
    atMs: request.atMs,
    after: request.after,
    tokens: request.outputTokens,
    body: completionBody({ model: MODEL, maxTokens: request.outputTokens, stream: true }, prompt(request)),
  }));
}
