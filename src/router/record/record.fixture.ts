/** Records for tests: a stream over a pair that went well. */
import type { Decision } from '../placement/index.ts';
import type { AttemptRecord, LegReport, RequestRecord } from './record.ts';

export const HAND_OFF = { blocks: 6, bytes: 98_304, ms: 3, moveMs: 1, failed: null };

/** @param report of both legs, that of the decode leg with a hand-off */
export function attemptRecord(decision: Decision, report: LegReport, change: Partial<AttemptRecord> = {}): AttemptRecord {
  const prefill = { ms: 22, report };
  const decode = { ms: 5, report: { ...report, handOff: HAND_OFF } };
  return { atMs: 0, decision, concurrent: false, resumedTokens: 0, prefill, decode, error: null, lostAtMs: null, ...change };
}

export function requestRecord(change: Partial<RequestRecord> = {}): RequestRecord {
  return {
    id: 'r-1',
    traceId: null,
    span: null,
    kind: 'chat',
    model: 'tiny',
    stream: true,
    synthetic: false,
    startedAt: 0,
    maxTokens: 48,
    promptTokens: 120,
    queuedMs: 0,
    attempts: [],
    resumes: 0,
    moves: [],
    outcome: 'ok',
    status: 200,
    error: null,
    finishReason: 'stop',
    outputTokens: 40,
    ttftMs: 27.5,
    tpotMs: 1.1,
    totalMs: 72,
    ...change,
  };
}
