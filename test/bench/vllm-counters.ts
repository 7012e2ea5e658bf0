/** vLLM's own counters, read from its page of metrics. */
import type { RunningInstance } from '../engines/running.ts';

export interface Counted {
  /** Prompt tokens that an instance computed itself: neither found in its cache nor pulled from another one. */
  readonly computedTokens: number;
  /** Of them, on prefill instances. */
  readonly computedOnPrefill: number;
  readonly pulledBytes: number;
}

const COMPUTED = 'vllm:prompt_tokens_by_source_total';

/** Over all instances, since they started. @throws Error for a page without the counter of computed tokens */
export async function readCounters(instances: readonly RunningInstance[]): Promise<Counted> {
  let computedTokens = 0;
  let computedOnPrefill = 0;
  let pulledBytes = 0;
  for (const { requestUrl, role } of instances) {
    const page = await (await fetch(`${requestUrl}/metrics`)).text();
    if (!page.includes(`${COMPUTED}{`)) throw new Error(`${requestUrl}/metrics has no ${COMPUTED}: expected a vLLM of 0.32 or later there`);
    const computed = sumOf(page, COMPUTED, 'source="local_compute"');
    computedTokens += computed;
    if (role === 'prefill') computedOnPrefill += computed;
    pulledBytes += sumOf(page, 'vllm:nixl_bytes_transferred_sum', '');
  }
  return { computedTokens, computedOnPrefill, pulledBytes };
}

export function countedBetween(before: Counted, after: Counted): Counted {
  return {
    computedTokens: after.computedTokens - before.computedTokens,
    computedOnPrefill: after.computedOnPrefill - before.computedOnPrefill,
    pulledBytes: after.pulledBytes - before.pulledBytes,
  };
}

/** Sum of a metric over its label sets that contain `label`; 0 where it is not on the page (an instance that never pulled). Pure. */
export function sumOf(page: string, name: string, label: string): number {
  let sum = 0;
  for (const line of page.split('\n')) {
    if (!line.startsWith(`${name}{`) && !line.startsWith(`${name} `)) continue;
    if (line.includes(label)) sum += Number(line.slice(line.lastIndexOf(' ') + 1));
  }
  return sum;
}
