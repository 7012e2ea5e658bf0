import { expect, it } from 'vitest';
import { pageOf } from './page.fixture.ts';
import { withOurNames } from './page.ts';

it('tells what SGLang said by our names too', () => {
  const page = pageOf({
    num_running_reqs: 2,
    num_queue_reqs: 3,
    num_decode_transfer_queue_reqs: 1,
    token_usage: 0.5,
    prompt_tokens_total: 40,
    cached_tokens_total: 8,
  });
  const told = withOurNames(page, 'a"b');
  expect(told.startsWith(page)).toBe(true);
  const labels = '{model_name="a\\"b",engine="0"}';
  for (const line of [
    `vllm:num_requests_running${labels} 2`,
    `vllm:num_requests_waiting${labels} 4`,
    `vllm:kv_cache_usage_perc${labels} 0.5`,
    `vllm:prompt_tokens_total${labels} 40`,
    `vllm:prefix_cache_hits_total${labels} 8`,
  ])
    expect(told.split('\n')).toContain(line);
});

it('leaves a page alone that it cannot read', () => expect(withOurNames('oops', 'm')).toBe('oops'));
