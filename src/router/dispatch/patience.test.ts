import { describe, expect, it } from 'vitest';
import type { Silence } from '../instances/pulse.ts';
import { judgeLeg, type LegView, silenceText, slowAfterMs, slowText } from './patience.ts';

const NEVER = Number.POSITIVE_INFINITY;
const SILENT: Silence = { ms: 1_234, of: 'instance' };
const WELL: LegView = { stage: 'prefill', deadlineAt: 300, totalAt: 1_000, slowAt: 200, liveBy: NEVER, lived: true, silence: null };

describe('judgeLeg', () => {
  it.each<[string, Partial<LegView>, number, ReturnType<typeof judgeLeg>]>([
    ['nothing is wrong', {}, 199, null],
    ['it takes too long', {}, 200, 'slow'],
    ['its deadline is over', {}, 300, 'deadline'],
    ['the request has no time left', {}, 1_000, 'total'],
    ['there was only the time of the request', { stage: 'total', deadlineAt: 300 }, 300, 'total'],
    ['its instance is silent', { silence: SILENT }, 10, 'silent'],
    ['its instance is silent, and it is slow', { silence: SILENT }, 250, 'silent'],
    ['its instance is silent, and its deadline is over', { silence: SILENT }, 300, 'deadline'],
    ['the lease is not over', { liveBy: 100, lived: false }, 99, null],
    ['the lease is over and its instance lived', { liveBy: 100 }, 100, null],
    ['the lease is over and its instance did not live', { liveBy: 100, lived: false, silence: SILENT }, 100, 'lapsed'],
    ['it is never slow', { slowAt: NEVER }, 299, null],
  ])('when %s', (_when, change, now, verdict) => {
    expect(judgeLeg({ ...WELL, ...change }, now)).toBe(verdict);
  });
});

describe('slowAfterMs', () => {
  it('bears what costs that are off by four, and by the ordinary spread, come to', () => {
    // 12 times of a prediction that nobody has measured; 6 of one that holds.
    expect(slowAfterMs(1_000, 4)).toBe(12_000);
    expect(slowAfterMs(1_000, 2)).toBe(6_000);
  });

  it('is never below five seconds', () => {
    expect([slowAfterMs(0, 4), slowAfterMs(100, 2), slowAfterMs(800, 2)]).toEqual([5_000, 5_000, 5_000]);
  });
});

it('says why', () => {
  expect(silenceText(SILENT, 'prefill')).toBe('the instance was silent for 1.2 s during prefill');
  expect(silenceText(SILENT, 'idle')).toBe('the instance was silent for 1.2 s between two tokens');
  expect(silenceText({ ms: 3_100, of: 'engine' }, 'firstToken')).toBe(
    'the engine was, as its agent says, silent for 3.1 s before the first token',
  );
  expect(slowText(5_040, 120)).toBe('prefill was not done after 5.0 s, predicted 0.1 s');
});
