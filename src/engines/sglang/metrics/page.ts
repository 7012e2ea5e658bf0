/** SGLang's metrics page with the names that dashboards and autoscalers of Sluice read beside its own. Pure. */
import { MetricsFormatError } from '../../agent/metrics/parse.ts';
import { readScrape } from './scrape.ts';

/** @param page as SGLang gave it; one that cannot be read goes as it is */
export function withOurNames(page: string, model: string): string {
  try {
    const { running, queued, meeting, kvUsage, promptTokens, cachedTokens, generationTokens, failedHandOffs } = readScrape(page);
    const labels = `{model_name=${JSON.stringify(model)},engine="0"}`;
    const told = [
      ['gauge', 'num_requests_running', running],
      ['gauge', 'num_requests_waiting', queued + meeting],
      ['gauge', 'kv_cache_usage_perc', kvUsage],
      ['counter', 'prompt_tokens_total', promptTokens],
      ['counter', 'generation_tokens_total', generationTokens],
      ['counter', 'prefix_cache_queries_total', promptTokens],
      ['counter', 'prefix_cache_hits_total', cachedTokens],
      ['counter', 'nixl_num_failed_transfers_total', failedHandOffs],
    ] as const;
    const lines = told.map(([type, name, value]) => `# TYPE vllm:${name} ${type}\nvllm:${name}${labels} ${value}\n`);
    return `${page}${page.endsWith('\n') ? '' : '\n'}${lines.join('')}`;
  } catch (thrown) {
    if (thrown instanceof MetricsFormatError) return page;
    throw thrown;
  }
}
