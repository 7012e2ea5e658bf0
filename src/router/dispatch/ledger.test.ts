import { describe, expect, it } from 'vitest';
import { FREE_COSTS } from '../../api/facts/index.ts';
import { FakeClock } from '../../shared/index.ts';
import { parseRequest } from '../edge/index.ts';
import { place } from '../placement/index.ts';
import { Ledger } from './ledger.ts';

const REPORT = { promptTokens: 1, reused: null, computed: null, queueMs: null, prefillMs: null, handOff: null };

/** An attempt whose legs begin now. */
function begun() {
  const clock = new FakeClock();
  const request = parseRequest('completion', Buffer.from('{"model":"m","prompt":"p","stream":true}'), 'm');
  const ledger = new Ledger(request, clock, { id: 'r', model: 'm', trace: null, probe: false });
  const instance = {
    id: 'd',
    role: 'mixed',
    costs: FREE_COSTS,
    maxSequences: 1,
    running: 0,
    pendingPrefillTokens: 0,
    contextTokens: 0,
    storePrice: null,
    storeAheadMs: 0,
  } as const;
  const sizes = { promptTokens: 1, maxTokens: 1, blockTokens: 16, bytesPerBlock: 1 };
  const ranking = place({
    ...sizes,
    instances: [instance],
    held: [0],
    stored: [0],
    pullMs: 1,
    spread: 0,
    pairOnly: false,
    decodesAlone: true,
  });
  if (!ranking) throw new Error('nothing was chosen');
  ledger.placed({ ...ranking, aside: [] }, 1, { concurrent: true, events: { tokens: 0 } });
  ledger.legBegan();
  return { clock, ledger, times: () => ledger.record.attempts.map(({ prefill, decode }) => [prefill?.ms, decode?.ms]) };
}

describe('Ledger, of legs under way at once', () => {
  it('counts a decode leg from the prefill instance’s answer on', () => {
    const { clock, ledger, times } = begun();
    clock.advance(30);
    ledger.prefilled(REPORT);
    clock.advance(5);
    ledger.firstByte(null);
    expect(times()).toEqual([[30, 5]]);
  });

  it('takes all before the first token for prefill when the decode instance was heard first', () => {
    const { clock, ledger, times } = begun();
    clock.advance(30);
    ledger.firstByte(null);
    clock.advance(5);
    ledger.prefilled(REPORT);
    expect(times()).toEqual([[30, 0]]);
    expect(ledger.record.ttftMs).toBe(30);
  });
});
