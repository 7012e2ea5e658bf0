import { expect, it } from 'vitest';
import { PLAIN } from '../terminal.ts';
import { verdict } from './print.ts';
import { documentOf, type QuickstartReport, type RequestReport } from './result.ts';

const sound: RequestReport = {
  name: 'cold prompt',
  requestId: 'r-1',
  model: 'tiny',
  prefill: 'prefill-0',
  decode: 'decode-0',
  why: '',
  ttftMs: 1,
  tokensPerSecond: 1,
  promptTokens: 1,
  outputTokens: 1,
  reusedTokens: { hbm: 0, host: 0, peer: 0, store: 0 },
  handOff: null,
  equalsSingleEngine: true,
  finishReason: 'length',
  error: null,
};

function reportOf(...requests: RequestReport[]): QuickstartReport {
  return { ok: false, readyMs: 1, requests, leftovers: { leases: 2, reservations: 0, processes: 0, files: 0 } };
}

it('says of each request what is wrong with it, and why where that is known', () => {
  const late = { ...sound, name: 'long prompt', equalsSingleEngine: false, finishReason: null, error: 'no end within 300 s' };
  const cut = { ...sound, name: 'second turn', equalsSingleEngine: false, finishReason: null };
  expect(verdict(reportOf(sound, late, cut), PLAIN).slice(1)).toEqual([
    '  long prompt: no end within 300 s',
    '  second turn: the text is not that of one engine alone',
    '  second turn: its stream ended without a finish_reason',
    '  left over: 2 leases',
  ]);
});

it('keeps errors out of the document, whose fields are agreed', () => {
  const { error: _, ...agreed } = sound;
  expect(JSON.parse(documentOf(reportOf(sound))).requests).toEqual([agreed]);
});
