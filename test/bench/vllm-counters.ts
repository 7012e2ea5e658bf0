/** vLLM's own counters, read from its page of metrics. */
import type { VllmInstance } from './vllm-deployment.ts';

export interface Counted {
  /** Prompt tokens that an instance computed itself: neither found in its cache nor pulled from another one. */
  readonly computedTokens: number;
  /** Of them, on prefill instances. */
  readonly computedOnPrefill: number;
  readonly pulledBytes: number;
}

/** Over all instances, since they started. */
export async function readCounters(instances: readonly VllmInstance[]): Promise<Counted> {
  let computedTokens = 0;
  let computedOnPrefill = 0;
  let pulledBytes = 0;
  for (const { requestUrl, role } of instances) {
    const page = await (await fetch(`${requestUrl}/metrics`)).text();
    const computed = sumOf(page, 'vllm:prompt_tokens_by_source_total', 'source="local_compute"');
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
