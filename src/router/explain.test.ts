import { describe, expect, it } from 'vitest';
import type { PromptReport } from '../engines/index.ts';
import { explainRecord } from './explain.ts';
import { type Candidate, type Decision, type Terms, totalOf, ttftOf } from './placement/index.ts';
import type { AttemptRecord, RequestRecord } from './record/index.ts';
import { attemptRecord, requestRecord } from './record/record.fixture.ts';

const NO_TERMS: Terms = { queueMs: 0, onboardMs: 0, prefillMs: 0, transferMs: 0, admitMs: 0, tailMs: 0, stallMs: 0, decodeMs: 0 };

function candidate(prefill: string | null, decode: string, terms: Partial<Terms>): Candidate {
  const all = { ...NO_TERMS, ...terms };
  return {
    prefill,
    decode,
    terms: all,
    ttftMs: ttftOf(all),
    totalMs: totalOf(all),
    cachedBlocks: 1,
    storedBlocks: 0,
    pulledBlocks: prefill === null ? 0 : 6,
  };
}

const PAIR = candidate('prefill-0', 'decode-1', { prefillMs: 20, transferMs: 2, tailMs: 1.5, decodeMs: 64 });
const ALONE = candidate(null, 'decode-0', { prefillMs: 21, stallMs: 21, decodeMs: 64 });
const DECISION: Decision = {
  chosen: PAIR,
  candidates: [PAIR, ALONE],
  considered: 4,
  why: '18.5 ms better than decode-0 alone',
  aside: [{ instance: 'decode-2', why: 'it has said nothing for 1200 ms' }],
};
const REPORT: PromptReport = {
  promptTokens: 120,
  reused: { hbm: 16, host: 0, peer: 0, store: 0 },
  computed: 104,
  queueMs: 0,
  prefillMs: 19,
  handOff: null,
};

function attempt(change: Partial<AttemptRecord> = {}): AttemptRecord {
  return attemptRecord(DECISION, REPORT, change);
}

function record(change: Partial<RequestRecord> = {}): RequestRecord {
  return requestRecord({ attempts: [attempt()], ...change });
}

/** The numbers of a table row, without names and block counts. */
function numbers(line: string): number[] {
  return (line.match(/ \d+\.\d\d(?= |$)/g) ?? []).map(Number);
}

describe('explainRecord', () => {
  it('adds up: the shown terms of every candidate are its shown total', () => {
    const rows = explainRecord(record())
      .split('\n')
      .filter((line) => / blocks?$/.test(line));
    expect(rows).toHaveLength(2);
    for (const row of rows) {
      const values = numbers(row);
      const total = values.at(-2) ?? 0;
      expect(values.slice(0, -2).reduce((sum, value) => sum + value, 0)).toBeCloseTo(total, 1);
    }
  });

  it('marks the chosen way, names why the runner-up lost, and puts measured beside predicted', () => {
    const text = explainRecord(record());
    expect(text).toMatch(/^ {2}→ {2}prefill-0 → decode-1/m);
    expect(text).toContain('decode-2 was no choice: it has said nothing for 1200 ms');
    expect(text).toContain('decode-0 alone lost by 18.50 ms: its stall of other streams is 21.00 ms more');
    expect(text).toContain('prefill: predicted 20.00 ms, measured 22.00 ms');
    expect(text).toContain('hand-off: predicted 2.00 ms, measured 3.00 ms; 6 blocks, 98304 bytes');
    expect(text).toContain('first token of this attempt: predicted 23.50 ms, measured 27.00 ms');
    expect(text).toContain('measured 40 tokens, TTFT 27.50 ms, per token 1.10 ms, in all 72.00 ms');
  });

  it("shows the client's trace where there is one", () => {
    const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
    expect(explainRecord(record({ traceId }))).toMatch(/^request {2}r-1\ntrace {4}4bf92f3577b34da6a3ce929d0e0e4736\nwhat/);
    expect(explainRecord(record())).not.toContain('trace');
  });

  it('shows what was to come from the store beside what came', () => {
    const reading = { ...candidate(null, 'decode-0', { onboardMs: 3, prefillMs: 2, decodeMs: 64 }), storedBlocks: 40 };
    const decision = { ...DECISION, chosen: reading, candidates: [reading, ALONE] };
    const onboard = { blocks: 40, bytes: 655_360, copies: 2, ms: 3.5, failed: null };
    const read = explainRecord(
      record({ attempts: [attempt({ decision, prefill: null, decode: { ms: 6, report: { ...REPORT, onboard } } })] }),
    );
    expect(read).toMatch(/way +store +prefill .*TTFT +cached +to read +to pull$/m);
    expect(read).toMatch(/decode-0 alone +3\.00 +2\.00 .* 40 blocks +0 blocks$/m);
    expect(read).toContain('store (decode): predicted 3.00 ms, measured 3.50 ms; 40 blocks, 655360 bytes in 2 copies');
    const computed = explainRecord(record({ attempts: [attempt({ decision, prefill: null, decode: { ms: 6, report: REPORT } })] }));
    expect(computed).toContain('store (decode): predicted 3.00 ms, nothing was read');
    expect(explainRecord(record())).not.toContain('store');
  });

  it('leaves out terms that nobody has', () => {
    expect(explainRecord(record())).not.toContain('wait for a sequence');
  });

  it('tells every attempt of a stream that was resumed', () => {
    const lost = attempt({ error: 'the connection to the instance broke' });
    const text = explainRecord(record({ attempts: [lost, attempt({ atMs: 40, resumedTokens: 7 })], resumes: 1 }));
    expect(text).toContain('lost: the connection to the instance broke');
    expect(text).toContain('attempt 2 at 40.00 ms, after 7 tokens: considered 4 ways');
    expect(text).toContain('resumed  1 of 1 further attempts');
  });

  it('tells a request that was never placed, and one under way', () => {
    const refused = record({
      attempts: [],
      outcome: 'rejected',
      status: 429,
      error: 'queue_full: no room',
      finishReason: null,
      ttftMs: null,
    });
    expect(explainRecord(refused)).toContain('where    not placed: queue_full: no room');
    expect(explainRecord(refused)).toContain('outcome  rejected, HTTP 429');
    expect(explainRecord(record({ outcome: null }))).toContain('still under way');
  });

  it('says when equals were taken in turn and when there was no other way', () => {
    const twin = candidate('prefill-0', 'decode-0', PAIR.terms);
    const even = attempt({ decision: { ...DECISION, candidates: [PAIR, twin] } });
    expect(explainRecord(record({ attempts: [even] }))).toContain('prefill-0 → decode-0 was as good');
    const only = attempt({ decision: { ...DECISION, candidates: [PAIR] } });
    expect(explainRecord(record({ attempts: [only] }))).toContain('there was no other way');
  });
});
