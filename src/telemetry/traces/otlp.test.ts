import { describe, expect, it } from 'vitest';
import { exportBody, verdictOf } from './otlp.ts';
import type { Span } from './span.ts';

const SPAN: Span = {
  traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
  id: '00f067aa0ba90201',
  parentId: '00f067aa0ba90200',
  name: 'prefill',
  kind: 'client',
  startsAt: 1_790_000_000_123,
  endsAt: 1_790_000_000_130.25,
  attributes: { text: 'a', yes: true, count: 3, ms: { double: 2 }, list: ['a', 'b'], unknown: null },
  events: [{ name: 'sluice.first_token', at: 1_790_000_000_124.5, attributes: { n: 1 } }],
  error: 'lost',
};

describe('exportBody', () => {
  it('is OTLP in JSON: ids in hexadecimal, times and whole numbers as text, enumerations as numbers', () => {
    expect(JSON.parse(exportBody({ 'service.name': 'chat-router' }, [SPAN]))).toEqual({
      resourceSpans: [
        {
          resource: { attributes: [{ key: 'service.name', value: { stringValue: 'chat-router' } }] },
          scopeSpans: [
            {
              scope: { name: 'sluice' },
              spans: [
                {
                  traceId: SPAN.traceId,
                  spanId: SPAN.id,
                  parentSpanId: SPAN.parentId,
                  name: 'prefill',
                  kind: 3,
                  startTimeUnixNano: '1790000000123000000',
                  endTimeUnixNano: '1790000000130250000',
                  attributes: [
                    { key: 'text', value: { stringValue: 'a' } },
                    { key: 'yes', value: { boolValue: true } },
                    { key: 'count', value: { intValue: '3' } },
                    { key: 'ms', value: { doubleValue: 2 } },
                    { key: 'list', value: { arrayValue: { values: [{ stringValue: 'a' }, { stringValue: 'b' }] } } },
                  ],
                  events: [
                    {
                      name: 'sluice.first_token',
                      timeUnixNano: '1790000000124500000',
                      attributes: [{ key: 'n', value: { intValue: '1' } }],
                    },
                  ],
                  status: { code: 2, message: 'lost' },
                },
              ],
            },
          ],
        },
      ],
    });
  });

  it('leaves out what is not there, and numbers that are none', () => {
    const attributes = { broken: 1.5, endless: { double: Number.POSITIVE_INFINITY }, none: { double: Number.NaN }, low: 0.5 };
    const body = exportBody({}, [{ ...SPAN, parentId: null, kind: 'server', attributes, events: [], error: null }]);
    const [span] = JSON.parse(body).resourceSpans[0].scopeSpans[0].spans;
    expect(Object.keys(span)).toEqual(['traceId', 'spanId', 'name', 'kind', 'startTimeUnixNano', 'endTimeUnixNano', 'attributes']);
    expect(span.attributes).toEqual([
      { key: 'broken', value: { doubleValue: 1.5 } },
      { key: 'low', value: { doubleValue: 0.5 } },
    ]);
  });

  it('writes times that grow, to the end of a millisecond', () => {
    const times = [1.9999994, 1.9999999, 2, 2.000001].map((startsAt) => {
      return JSON.parse(exportBody({}, [{ ...SPAN, startsAt }])).resourceSpans[0].scopeSpans[0].spans[0].startTimeUnixNano;
    });
    expect(times).toEqual(['1999999', '1999999', '2000000', '2000001']);
  });
});

describe('verdictOf', () => {
  const verdict = (status: number, body = '', retryAfter?: string) => verdictOf({ status, body, retryAfter });

  it.each(['', '{}', '{"partialSuccess":{}}', '{"partialSuccess":null}', 'ok'])('takes a 200 with %j for a success', (body) => {
    expect(verdict(200, body)).toMatchObject({ kind: 'taken', rejected: 0 });
  });

  it('reads what was rejected of it, as number or as text', () => {
    const said = '{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too old"}}';
    expect(verdict(200, said)).toEqual({ kind: 'taken', rejected: 2, why: 'too old' });
    expect(verdict(200, said.replace('"2"', '3'))).toMatchObject({ rejected: 3 });
  });

  it('tells what may pass from what will not', () => {
    for (const status of [429, 502, 503, 504]) expect(verdict(status, 'no').kind).toBe('retry');
    for (const status of [301, 400, 401, 404, 413, 500])
      expect(verdict(status, 'no')).toEqual({ kind: 'refused', why: `it answered ${status}: no` });
    expect(verdict(503, 'busy', '7')).toEqual({ kind: 'retry', why: 'it answered 503: busy', afterMs: 7_000 });
    expect(verdict(503, 'busy', 'Fri, 31 Dec 2027 23:59:59 GMT')).toMatchObject({ afterMs: null });
  });
});
