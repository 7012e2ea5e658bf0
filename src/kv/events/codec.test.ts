import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeMessage, encodeMessage, type LogRecord, UnreadableMessage } from './codec.ts';

const key = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString('hex'));
const keys = fc.array(key, { maxLength: 20 });
const tier = fc.constantFrom('hbm' as const, 'host' as const, 'peer' as const, 'store' as const);
const seq = fc.nat(Number.MAX_SAFE_INTEGER);
const message = fc.string({ minLength: 1, maxLength: 60, unit: 'grapheme-ascii' }).chain((incarnation) => {
  const change = fc.record({ type: fc.constantFrom('stored' as const, 'removed' as const), tier, keys });
  const event = fc.record({ seq, event: fc.oneof(change, fc.constant({ type: 'cleared' as const })) });
  const told = event.map((one): LogRecord => ({ kind: 'event', envelope: { incarnation, ...one } }));
  const part = fc.record({ seq, part: fc.nat(9), parts: fc.integer({ min: 10, max: 2 ** 32 - 1 }), tier, keys });
  const held = part.map((one): LogRecord => ({ kind: 'snapshot', incarnation, ...one }));
  return fc.record({ incarnation: fc.constant(incarnation), records: fc.array(fc.oneof(told, held), { maxLength: 8 }) });
});

describe('messages of the log', () => {
  it('are read as they were written', () => {
    fc.assert(
      fc.property(message, ({ incarnation, records }) => {
        expect(decodeMessage(encodeMessage(incarnation, records))).toEqual(records);
      }),
    );
  });

  it('that are cut off are not read, but where a record ends', () => {
    fc.assert(
      fc.property(message, fc.nat(), ({ incarnation, records }, at) => {
        const bytes = encodeMessage(incarnation, records);
        try {
          const read = decodeMessage(bytes.subarray(0, at % bytes.length));
          expect(read).toEqual(records.slice(0, read.length));
        } catch (error) {
          expect(error).toBeInstanceOf(UnreadableMessage);
        }
      }),
    );
  });

  it('of anybody give records or are refused, never anything else', () => {
    const marked = fc.uint8Array({ maxLength: 80 }).map((rest) => Buffer.concat([Buffer.from('E1'), rest]));
    fc.assert(
      fc.property(fc.oneof(marked, fc.uint8Array({ maxLength: 80 })), (bytes) => {
        try {
          for (const record of decodeMessage(bytes)) expect(['event', 'snapshot']).toContain(record.kind);
        } catch (error) {
          expect(error).toBeInstanceOf(UnreadableMessage);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('of another version are refused', () => {
    expect(() => decodeMessage(Buffer.from('E2\0'))).toThrow('it does not begin with E1');
  });
});
