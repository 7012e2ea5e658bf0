import { describe, expect, it } from 'vitest';
import { describeTails } from './vllm-tails.ts';

/** 1 to `count`, times `factor`. */
function rising(count: number, factor: number): number[] {
  return Array.from({ length: count }, (_, index) => (index + 1) * factor);
}

describe('tails over all runs', () => {
  it('is the p99 of the requests of all runs, not the middle of each run’s', () => {
    const runs = [
      { workload: 'conversations', contender: 'sluice', ttftMs: rising(100, 1) },
      { workload: 'conversations', contender: 'other', ttftMs: rising(100, 2) },
      { workload: 'conversations', contender: 'sluice', ttftMs: rising(100, 1) },
      { workload: 'conversations', contender: 'other', ttftMs: rising(100, 4) },
    ];
    expect(describeTails(runs, 'sluice')).toEqual([
      'conversations.ttftP99 over all runs: sluice 99.0 ms of 200 requests; other 392 ms of 200: ratio 0.253, 0.250 to 0.500 leaving out one run',
    ]);
  });

  it('has a line for each workload and no spread for one run', () => {
    const runs = [
      { workload: 'conversations', contender: 'sluice', ttftMs: [5] },
      { workload: 'documents', contender: 'sluice', ttftMs: [6] },
      { workload: 'documents', contender: 'other', ttftMs: [3] },
    ];
    expect(describeTails(runs, 'sluice')).toEqual([
      'conversations.ttftP99 over all runs: sluice 5.00 ms of 1 requests',
      'documents.ttftP99 over all runs: sluice 6.00 ms of 1 requests; other 3.00 ms of 1: ratio 2.00',
    ]);
  });
});
