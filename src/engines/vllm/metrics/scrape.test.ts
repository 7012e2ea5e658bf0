import { describe, expect, it } from 'vitest';
import { MetricsFormatError } from '../../agent/metrics/parse.ts';
import { DECODE_PAGE, PREFILL_PAGE, withValues } from './page.fixture.ts';
import { readScrape } from './scrape.ts';

describe('readScrape', () => {
  it('reads the page of a real prefill instance', () => {
    expect(readScrape(PREFILL_PAGE)).toMatchObject({
      running: 0,
      waiting: 0,
      deferred: 0,
      kvUsage: 0,
      hbmBlocks: 8192,
      counters: {
        promptTokens: 3116,
        prefixQueryTokens: 3180,
        prefixHitTokens: 672,
        externalHitTokens: 0,
        pulledBytes: 0,
        leasesExpired: 1,
        preemptions: 0,
      },
      prefillSeconds: { count: 13 },
      uncachedTokens: { sum: 2444, count: 13 },
      promptTokens: { sum: 3116, count: 13 },
    });
  });

  it('reads the page of a real decode instance', () => {
    const scrape = readScrape(DECODE_PAGE);
    expect(scrape).toMatchObject({ running: 0, waiting: 1, deferred: 1 });
    expect(scrape.counters).toMatchObject({ externalHitTokens: 1800, pulledBytes: 7_077_888, pullFailures: 0 });
    expect(scrape.pullSeconds).toEqual({ sum: 0.020985999999999998, count: 6 });
    expect(scrape.pulledBytes).toEqual({ sum: 7_077_888, count: 6 });
    expect(scrape.tokenGapSeconds.count).toBeGreaterThan(300);
  });

  it('adds up the ranks of an engine, and takes the mean of how full they are', () => {
    const rank1 = DECODE_PAGE.replaceAll('engine="0"', 'engine="1"');
    const page = `${withValues(DECODE_PAGE, { kv_cache_usage_perc: 0.5, num_requests_running: 3 })}${withValues(rank1, { kv_cache_usage_perc: 0, num_requests_running: 2 })}`;
    expect(readScrape(page)).toMatchObject({ running: 5, kvUsage: 0.25, hbmBlocks: 16384, pulledBytes: { sum: 2 * 7_077_888, count: 12 } });
  });

  it('tells requests that wait for KV from those that wait for room', () => {
    const page = DECODE_PAGE.replace(/^(vllm:num_requests_waiting_by_reason.*reason="deferred".*) .*$/m, '$1 4').replace(
      /^(vllm:num_requests_waiting_by_reason.*reason="capacity".*) .*$/m,
      '$1 3',
    );
    expect(readScrape(withValues(page, { num_requests_waiting: 7 }))).toMatchObject({ waiting: 7, deferred: 4 });
  });

  it('takes counters that are not there for 0', () => {
    const page = DECODE_PAGE.replaceAll(/^vllm:nixl.*$/gm, '').replaceAll(/^vllm:cache_config_info.*$/gm, '');
    expect(readScrape(page)).toMatchObject({
      hbmBlocks: null,
      counters: { pulledBytes: 0, leasesExpired: 0 },
      pullSeconds: { sum: 0, count: 0 },
    });
  });

  it.each(['vllm:num_requests_running', 'vllm:num_requests_waiting', 'vllm:kv_cache_usage_perc'])('refuses a page without %s', (name) => {
    const page = DECODE_PAGE.replaceAll(new RegExp(`^${name}\\{.*$`, 'gm'), '');
    expect(() => readScrape(page)).toThrow(`metrics: ${name}: expected a sample, as on vLLM's page, got none`);
  });

  it.each(['NaN', '+Inf', '-1'])('refuses a counter of %s', (value) => {
    expect(() => readScrape(withValues(DECODE_PAGE, { prompt_tokens_total: value }))).toThrow(MetricsFormatError);
    expect(() => readScrape(withValues(DECODE_PAGE, { kv_cache_usage_perc: value }))).toThrow('vllm:kv_cache_usage_perc');
  });

  it('refuses what is no metrics page', () => {
    expect(() => readScrape('<html>502 Bad Gateway</html>')).toThrow(MetricsFormatError);
  });
});
