import { describe, expect, it } from 'vitest';
import type { Span } from '../../telemetry/traces/index.ts';
import type { Candidate, Decision } from '../placement/index.ts';
import type { AttemptRecord, LegReport, MoveRecord, RequestRecord } from '../record/index.ts';
import { attemptRecord, HAND_OFF, requestRecord } from '../record/record.fixture.ts';
import { spansOf } from './spans.ts';

const STARTED = 1_790_000_000_000;
const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const ORIGIN = { id: '0123456789abcd00', parentId: '00f067aa0ba902b7' };

function candidate(prefill: string | null): Candidate {
  const terms = { queueMs: 1, onboardMs: 0, prefillMs: 20, transferMs: 2, admitMs: 0, tailMs: 1.5, stallMs: 0, decodeMs: 64 };
  return { prefill, decode: 'decode-1', terms, ttftMs: 24.5, totalMs: 88.5, cachedBlocks: 1, storedBlocks: 0, pulledBlocks: 6 };
}

function decision(prefill: string | null): Decision {
  const chosen = candidate(prefill);
  return { chosen, candidates: [chosen], considered: 4, why: '18.5 ms better than decode-0 alone', aside: [] };
}

const REPORT: LegReport = {
  promptTokens: 120,
  reused: { hbm: 16, host: 8, peer: 0, store: 0 },
  computed: 96,
  queueMs: 0,
  prefillMs: 19,
  handOff: null,
};

function attempt(change: Partial<AttemptRecord> = {}): AttemptRecord {
  return attemptRecord(decision('prefill-0'), REPORT, { atMs: 4, ...change });
}

function record(change: Partial<RequestRecord> = {}): RequestRecord {
  return requestRecord({
    traceId: TRACE,
    span: ORIGIN,
    startedAt: STARTED,
    promptTokens: 119,
    queuedMs: 3,
    attempts: [attempt()],
    outputTokens: 48,
    ttftMs: 31,
    tpotMs: 1.5,
    totalMs: 100,
    ...change,
  });
}

function move(change: Partial<MoveRecord> = {}): MoveRecord {
  return {
    id: 'm-1',
    atMs: 50,
    from: 'decode-1',
    to: 'decode-0',
    why: 'sluice kv drain',
    way: 'blocks',
    state: 'released',
    reason: null,
    tokens: 12,
    blocks: 9,
    bytes: 4096,
    tookMs: 8,
    pauseMs: 2,
    interTokenMs: 1.5,
    ...change,
  };
}

/** Name, and beginning and end in milliseconds after the request came. */
function times(spans: readonly Span[]): [string, number, number][] {
  return spans.map(({ name, startsAt, endsAt }) => [name, startsAt - STARTED, endsAt - STARTED]);
}

function spanNamed(spans: readonly Span[], name: string, at = 0): Span {
  const span = spans.filter((one) => one.name === name)[at];
  if (span === undefined) throw new Error(`no span ${name}`);
  return span;
}

function errors(spans: readonly Span[]): [string, string | null][] {
  return spans.filter(({ error }) => error !== null).map(({ name, error }) => [name, error]);
}

describe('spansOf', () => {
  it('tells a request over a pair from its admission to its last token', () => {
    const spans = spansOf(record());
    expect(times(spans)).toEqual([
      ['chat tiny', 0, 100],
      ['admission', 0, 3],
      ['placement', 3, 4],
      ['prefill', 4, 26],
      ['decode', 26, 100],
      ['hand-off', 26, 29],
    ]);
    const [request] = spans;
    expect(request).toMatchObject({ traceId: TRACE, id: ORIGIN.id, parentId: ORIGIN.parentId, kind: 'server', error: null, events: [] });
    const decode = spanNamed(spans, 'decode');
    const parents = spans.slice(1).map(({ name, parentId, kind }) => [name, parentId, kind]);
    expect(parents).toEqual([
      ['admission', ORIGIN.id, 'internal'],
      ['placement', ORIGIN.id, 'internal'],
      ['prefill', ORIGIN.id, 'client'],
      ['decode', ORIGIN.id, 'client'],
      ['hand-off', decode.id, 'internal'],
    ]);
    expect(decode.events).toEqual([{ name: 'sluice.first_token', at: STARTED + 31, attributes: {} }]);
    expect(new Set(spans.map(({ id }) => id)).size).toBe(spans.length);
  });

  it('says of the request what the conventions have words for, and the rest in its own', () => {
    expect(spansOf(record())[0]?.attributes).toEqual({
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'sluice',
      'gen_ai.request.model': 'tiny',
      'gen_ai.request.stream': true,
      'gen_ai.request.max_tokens': 48,
      'gen_ai.usage.input_tokens': 120,
      'gen_ai.usage.output_tokens': 48,
      'gen_ai.usage.cache_read.input_tokens': 24,
      'gen_ai.response.finish_reasons': ['stop'],
      'gen_ai.response.time_to_first_chunk': { double: 0.031 },
      'http.request.method': 'POST',
      'http.route': '/v1/chat/completions',
      'http.response.status_code': 200,
      'url.path': '/v1/chat/completions',
      'url.scheme': 'http',
      'error.type': null,
      'sluice.request.id': 'r-1',
      'sluice.outcome': 'ok',
      'sluice.ttft_ms': { double: 31 },
      'sluice.tpot_ms': { double: 1.5 },
      'sluice.attempts': 1,
      'sluice.resumes': 0,
    });
    const completion = spansOf(record({ kind: 'completion', stream: false, maxTokens: 0, ttftMs: null }))[0];
    expect(completion).toMatchObject({ name: 'text_completion tiny' });
    expect(completion?.attributes).toMatchObject({
      'http.route': '/v1/completions',
      'gen_ai.request.max_tokens': null,
      'gen_ai.response.time_to_first_chunk': null,
    });
  });

  it('shows what placement chose and predicted, and what was measured', () => {
    const spans = spansOf(record());
    expect(spanNamed(spans, 'placement').attributes).toMatchObject({
      'sluice.prefill': 'prefill-0',
      'sluice.decode': 'decode-1',
      'sluice.reason': '18.5 ms better than decode-0 alone',
      'sluice.considered': 4,
      'sluice.predicted.ttft_ms': { double: 24.5 },
      'sluice.predicted.total_ms': { double: 88.5 },
      'sluice.predicted.transfer_ms': { double: 2 },
      'sluice.attempt': 1,
    });
    expect(spanNamed(spans, 'prefill').attributes).toMatchObject({
      'sluice.instance': 'prefill-0',
      'sluice.predicted_ms': { double: 21 },
      'sluice.engine.prefill_ms': { double: 19 },
      'sluice.computed_tokens': 96,
      'sluice.reused.host_tokens': 8,
    });
    expect(spanNamed(spans, 'hand-off').attributes).toMatchObject({
      'sluice.from': 'prefill-0',
      'sluice.to': 'decode-1',
      'sluice.bytes': 98_304,
    });
  });

  it('has no prefill leg where one instance did all, and no first token of a whole answer', () => {
    const alone = attempt({ decision: decision(null), prefill: null, decode: { ms: 30, report: REPORT } });
    const spans = spansOf(record({ stream: false, ttftMs: null, attempts: [alone] }));
    expect(spans.map(({ name }) => name)).toEqual(['chat tiny', 'admission', 'placement', 'decode']);
    expect(spanNamed(spans, 'decode').events).toEqual([]);
  });

  it('begins both legs at once where both were asked at once, and has an error that nobody can tell whose it is on both', () => {
    const report = { ...REPORT, handOff: { ...HAND_OFF, ms: null, moveMs: null } };
    const both = attempt({ concurrent: true, decode: { ms: 5, report } });
    const lost = attempt({ concurrent: true, prefill: null, decode: null, error: 'out of memory', lostAtMs: 20 });
    const spans = spansOf(record({ attempts: [lost, { ...both, atMs: 21 }] }));
    const legs = times(spans.filter(({ kind }) => kind === 'client'));
    expect(legs).toEqual([
      ['prefill', 4, 20],
      ['decode', 4, 20],
      ['prefill', 21, 43],
      ['decode', 21, 100],
    ]);
    expect(spanNamed(spans, 'decode', 1).events.map(({ at }) => at - STARTED)).toEqual([48]);
    expect(errors(spans)).toEqual([
      ['prefill', 'out of memory'],
      ['decode', 'out of memory'],
    ]);
    const decoding = attempt({ concurrent: true, error: 'the stream ended too early', lostAtMs: 60 });
    expect(errors(spansOf(record({ attempts: [decoding] })))).toEqual([['decode', 'the stream ended too early']]);
  });

  it('shows no hand-off of which no time is known, and how much it was all the same', () => {
    const counted = { ...REPORT, handOff: { ...HAND_OFF, ms: null, moveMs: null } };
    const spans = spansOf(record({ attempts: [attempt({ decode: { ms: 5, report: counted } })] }));
    expect(spans.some(({ name }) => name === 'hand-off')).toBe(false);
    expect(spanNamed(spans, 'decode').attributes).toMatchObject({ 'sluice.hand_off.blocks': 6, 'sluice.hand_off.bytes': 98_304 });
  });

  it('keeps a hand-off that an engine timed longer than the request within it, and says what failed of it', () => {
    const failed = { ...REPORT, handOff: { ...HAND_OFF, ms: 500, failed: 'checksum' } };
    const spans = spansOf(record({ attempts: [attempt({ decode: { ms: 5, report: failed } })] }));
    expect(times([spanNamed(spans, 'hand-off')])).toEqual([['hand-off', 26, 100]]);
    expect(errors(spans)).toEqual([['hand-off', 'checksum']]);
  });

  it('tells of a request that was tried again: each attempt, and why', () => {
    const lost = attempt({ prefill: null, decode: null, error: 'prefill failed: the connection broke', lostAtMs: 20 });
    const spans = spansOf(record({ attempts: [lost, attempt({ atMs: 21 })] }));
    expect(times(spans)).toEqual([
      ['chat tiny', 0, 100],
      ['admission', 0, 3],
      ['placement', 3, 4],
      ['prefill', 4, 20],
      ['placement', 20, 21],
      ['prefill', 21, 43],
      ['decode', 43, 100],
      ['hand-off', 43, 46],
    ]);
    expect(errors(spans)).toEqual([['prefill', 'prefill failed: the connection broke']]);
    expect(spans[0]?.events).toEqual([
      {
        name: 'sluice.retry',
        at: STARTED + 21,
        attributes: {
          'sluice.reason': 'prefill failed: the connection broke',
          'sluice.tokens': 0,
          'sluice.prefill': 'prefill-0',
          'sluice.decode': 'decode-1',
        },
      },
    ]);
    expect(new Set(spans.map(({ id }) => id)).size).toBe(spans.length);
  });

  it('tells of resumes and moves in the order in which they came', () => {
    const lost = attempt({ error: 'the stream ended too early', lostAtMs: 60 });
    const spans = spansOf(
      record({
        attempts: [lost, attempt({ atMs: 60, resumedTokens: 20 })],
        resumes: 1,
        moves: [move(), move({ atMs: 70, state: 'aborted', reason: 'full' })],
      }),
    );
    expect(spans[0]?.events.map(({ name, at }) => [name, at - STARTED])).toEqual([
      ['sluice.move', 50],
      ['sluice.resume', 60],
      ['sluice.move', 70],
    ]);
    expect(spans[0]?.events[0]?.attributes).toMatchObject({
      'sluice.move.from': 'decode-1',
      'sluice.move.to': 'decode-0',
      'sluice.reason': 'sluice kv drain',
      'sluice.move.pause_ms': { double: 2 },
    });
    expect(spans[0]?.events[2]?.attributes).toMatchObject({ 'sluice.move.state': 'aborted', 'sluice.reason': 'full' });
    expect(errors(spans)).toEqual([['decode', 'the stream ended too early']]);
    expect(times([spanNamed(spans, 'decode')])).toEqual([['decode', 26, 60]]);
  });

  it('has the error of a request that failed on the leg that was under way too', () => {
    const late = 'deadline_exceeded: the request took longer than 100 ms';
    const spans = spansOf(record({ outcome: 'failed', status: 504, error: late }));
    expect(errors(spans)).toEqual([
      ['chat tiny', late],
      ['decode', late],
    ]);
    // Its stream had begun.
    expect(spans[0]?.attributes).toMatchObject({
      'error.type': 'deadline_exceeded',
      'http.response.status_code': 200,
      'sluice.outcome': 'failed',
    });
    const before = spansOf(record({ outcome: 'failed', status: 504, error: late, attempts: [attempt({ prefill: null, decode: null })] }));
    expect(errors(before).map(([name]) => name)).toEqual(['chat tiny', 'prefill']);
    expect(before[0]?.attributes['http.response.status_code']).toBe(504);
  });

  it('holds what the client did against nobody', () => {
    const cancelled = spansOf(record({ outcome: 'cancelled', status: 499, error: 'client_closed: the client went away' }));
    expect(errors(cancelled)).toEqual([]);
    const refused = spansOf(record({ outcome: 'refused', status: 400, error: 'temperature must be 0 or more' }));
    expect(errors(refused)).toEqual([]);
    expect(refused[0]?.attributes).toMatchObject({ 'error.type': null, 'sluice.outcome': 'refused' });
  });

  it('ends admission where the request ends that was not admitted', () => {
    const busy = 'queue_full: too many requests';
    const rejected = spansOf(record({ outcome: 'rejected', status: 429, error: busy, attempts: [], queuedMs: 0, totalMs: 7 }));
    expect(times(rejected)).toEqual([
      ['chat tiny', 0, 7],
      ['admission', 0, 7],
    ]);
    expect(errors(rejected)).toEqual([['admission', busy]]);
  });

  it('makes none of a record that is not traced', () => {
    expect(spansOf(record({ span: null }))).toEqual([]);
    expect(spansOf(record({ span: null, traceId: null }))).toEqual([]);
  });
});
