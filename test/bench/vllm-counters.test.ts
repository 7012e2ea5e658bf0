import { expect, it } from 'vitest';
import { sumOf } from './vllm-counters.ts';

const PAGE = `# TYPE vllm:prompt_tokens_by_source_total counter
vllm:prompt_tokens_by_source_total{engine="0",source="local_compute"} 408.0
vllm:prompt_tokens_by_source_total{engine="1",source="local_compute"} 2.0
vllm:prompt_tokens_by_source_total{engine="0",source="local_cache_hit"} 7.0
vllm:prompt_tokens_by_source_total_other{engine="0",source="local_compute"} 1000.0
vllm:nixl_bytes_transferred_sum{engine="0"} 7.077888e+06
plain 3`;

it('sums the label sets that are asked for, and nothing with a longer name', () => {
  expect(sumOf(PAGE, 'vllm:prompt_tokens_by_source_total', 'source="local_compute"')).toBe(410);
  expect(sumOf(PAGE, 'vllm:nixl_bytes_transferred_sum', '')).toBe(7_077_888);
  expect(sumOf(PAGE, 'plain', '')).toBe(3);
  expect(sumOf(PAGE, 'vllm:absent', '')).toBe(0);
});
