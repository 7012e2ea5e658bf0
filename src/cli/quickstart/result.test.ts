import { describe, expect, it } from 'vitest';
import { endedAsScripted, equalText, failureOf, nothingLeft } from './result.ts';
import { harbourLog, type ScriptedRequest, scriptedRequests } from './script.ts';
import type { StreamResult } from './stream.ts';

const [cold, , secondTurn, long, cancelled] = scriptedRequests(harbourLog(6_000)).map((script) => script('Yes.')) as [
  ScriptedRequest,
  ScriptedRequest,
  ScriptedRequest,
  ScriptedRequest,
  ScriptedRequest,
];
const result = (text: string, finishReason: string | null = 'length', error: string | null = null): StreamResult => ({
  text,
  finishReason,
  error,
  ttftMs: 1,
  tokensPerSecond: 1,
  outputTokens: 1,
});

describe('equalText', () => {
  it('wants the whole text and the same end', () => {
    expect(equalText(cold, result('abc'), result('abc'))).toBe(true);
    expect(equalText(cold, result('abc'), result('abd'))).toBe(false);
    expect(equalText(cold, result('abc'), result('abc', 'stop'))).toBe(false);
    expect(equalText(cold, result('abc', 'length', 'lost'), result('abc'))).toBe(false);
    expect(equalText(cold, result(''), result(''))).toBe(false);
  });

  it('wants the beginning of it from a cancelled stream', () => {
    expect(equalText(cancelled, result('ab', 'cancelled'), result('abc', 'cancelled'))).toBe(true);
    expect(equalText(cancelled, result('abx', 'cancelled'), result('abc', 'cancelled'))).toBe(false);
    expect(equalText(cancelled, result('', 'cancelled'), result('abc', 'cancelled'))).toBe(false);
  });
});

it('knows how each request should end', () => {
  expect(endedAsScripted(cold, result('a', 'stop'))).toBe(true);
  expect(endedAsScripted(cold, result('a', null))).toBe(false);
  expect(endedAsScripted(cold, result('a', 'cancelled'))).toBe(false);
  expect(endedAsScripted(cancelled, result('a', 'cancelled'))).toBe(true);
  expect(endedAsScripted(cancelled, result('a', 'length'))).toBe(false);
});

it('names whose answer did not end well', () => {
  expect(failureOf(result('a'), result('a'))).toBeNull();
  expect(failureOf(result('a', null, 'lost'), result('a', null, 'late'))).toBe('lost');
  expect(failureOf(result('a'), result('a', null, 'late'))).toBe('one engine alone: late');
});

it('counts everything that is left', () => {
  expect(nothingLeft({ leases: 0, reservations: 0, processes: 0, files: 0 })).toBe(true);
  expect(nothingLeft({ leases: 0, reservations: 0, processes: 0, files: 1 })).toBe(false);
});

describe('the script', () => {
  it('shares prefixes where it says so', () => {
    expect(secondTurn.messages.slice(0, 2)).toEqual(cold.messages);
    expect(secondTurn.messages[2]).toEqual({ role: 'assistant', content: 'Yes.' });
    expect(long.messages[0]).toEqual(cold.messages[0]);
  });

  it('has a long prompt without repetition', () => {
    const lines = harbourLog(6_000).split('\n');
    expect(new Set(lines).size).toBe(lines.length);
    expect(lines.join('\n').length).toBeGreaterThanOrEqual(6_000);
  });
});
