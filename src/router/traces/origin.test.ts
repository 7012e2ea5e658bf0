import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { traceOf } from '../edge/index.ts';
import { linesFor, passedOn, type RequestTrace, sampled } from './origin.ts';

const ID = '4bf92f3577b34da6a3ce929d0e0e4736';
const CLIENT = '00f067aa0ba902b7';

function client(flags: string, tracestate?: string) {
  return traceOf({ traceparent: `00-${ID}-${CLIENT}-${flags}`, tracestate });
}

/** @param ratio of requests without a context */
function trace(from: ReturnType<typeof client>, ratio: number, random = () => 0.5): RequestTrace {
  return sampled(from, { ratio, random });
}

describe('sampled', () => {
  it.each(['01', '03'])('makes spans below those of a client that makes some (flags %s), whatever the ratio', (flags) => {
    const made = trace(client(flags, 'a=1'), 0);
    expect(made).toMatchObject({ traceId: ID, span: { parentId: CLIENT } });
    expect(linesFor(made, 'decode', 0)).toMatch(new RegExp(`^traceparent: 00-${ID}-[0-9a-f]{14}07-${flags}\r\ntracestate: a=1\r\n$`));
  });

  it.each(['00', '02'])('makes none for a client that makes none (flags %s), whatever the ratio, and engines hear that', (flags) => {
    const made = trace(client(flags), 1);
    expect(made).toMatchObject({ traceId: ID, span: null });
    expect(linesFor(made, 'prefill', 0)).toBe(`traceparent: 00-${ID}-${CLIENT}-${flags}\r\n`);
  });

  it('begins a trace for its share of the requests without a context', () => {
    expect(trace(null, 0.51)).toMatchObject({ traceId: expect.stringMatching(/^[0-9a-f]{32}$/), span: { parentId: null } });
    expect(linesFor(trace(null, 0.51), 'prefill', 0)).toMatch(/^traceparent: 00-[0-9a-f]{32}-[0-9a-f]{14}05-01\r\n$/);
    expect(trace(null, 0, () => 0).span).toBeNull();
    expect(trace(null, 1, () => 0.999_999_999).span).not.toBeNull();
  });

  it('tells engines that the others are not traced, so that they begin no traces of their own', () => {
    const made = trace(null, 0.5);
    expect(made).toMatchObject({ traceId: null, span: null });
    for (const leg of ['prefill', 'decode'] as const)
      expect(linesFor(made, leg, 0)).toMatch(/^traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-00\r\n$/);
  });

  it('makes ids that can be read as a context again, whatever is drawn', () => {
    const draws = fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(draws, fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(100), (drawn, ratio, attempt) => {
        let at = 0;
        const random = () => drawn[at++ % drawn.length] ?? 0;
        const made = sampled(null, { ratio, random });
        const [, traceparent] = /^traceparent: (.*)\r\n$/.exec(linesFor(made, 'decode', attempt)) ?? [];
        expect(traceOf({ traceparent })).toMatchObject({ flags: made.span === null ? 0 : 1 });
      }),
    );
  });

  it('gives every leg of every attempt an id of its own', () => {
    const made = trace(null, 1);
    const ids = Array.from({ length: 62 }, (_, attempt) => [linesFor(made, 'prefill', attempt), linesFor(made, 'decode', attempt)]).flat();
    expect(new Set([...ids, made.span?.id]).size).toBe(2 * 62 + 1);
  });
});

it('without tracing, what a client sends goes through as it came', () => {
  expect(passedOn(null)).toBeNull();
  expect(linesFor(passedOn(null), 'decode', 0)).toBe('');
  const made = passedOn(client('01', 'a=1'));
  expect(made).toMatchObject({ traceId: ID, span: null });
  expect(linesFor(made, 'decode', 3)).toBe(`traceparent: 00-${ID}-${CLIENT}-01\r\ntracestate: a=1\r\n`);
});
