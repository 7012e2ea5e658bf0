import { describe, expect, it } from 'vitest';
import { traceOf } from './trace.ts';

const ID = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = `00-${ID}-00f067aa0ba902b7-01`;

function lines(traceparent: string | undefined, tracestate?: string): string | null {
  return traceOf({ traceparent, tracestate })?.lines ?? null;
}

function stateOf(tracestate: string): string | null {
  return /^tracestate: (.*)\r\n$/m.exec(lines(PARENT, tracestate) ?? '')?.[1] ?? null;
}

describe('traceparent', () => {
  it.each([PARENT, `00-${ID}-00f067aa0ba902b7-00`, `00-${ID}-00f067aa0ba902b7-ff`])('passes %s on as it came', (given) => {
    const lines = `traceparent: ${given}\r\n`;
    const flags = Number.parseInt(given.slice(-2), 16) & 3;
    expect(traceOf({ traceparent: given })).toEqual({ traceId: ID, parentId: '00f067aa0ba902b7', flags, state: '', lines });
  });

  it('speaks of a later version as far as it knows it', () => {
    expect(lines(`01-${ID}-00f067aa0ba902b7-ff-what.comes.later`)).toBe(`traceparent: 00-${ID}-00f067aa0ba902b7-03\r\n`);
    expect(lines(`cc-${ID}-00f067aa0ba902b7-01`)).toBe(`traceparent: ${PARENT}\r\n`);
  });

  it.each<[string, string | undefined]>([
    ['nothing', undefined],
    ['an empty one', ''],
    ['the version that is none', `ff-${ID}-00f067aa0ba902b7-01`],
    ['more than version 00 has', `${PARENT}-more`],
    ['a dash at its end', `${PARENT}-`],
    ['a later version that goes on without a dash', `01-${ID}-00f067aa0ba902b7-01more`],
    ['upper case', `00-${ID.toUpperCase()}-00f067aa0ba902b7-01`],
    ['no hexadecimal digits', `00-${'g'.repeat(32)}-00f067aa0ba902b7-01`],
    ['a trace id of zeros', `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`],
    ['a parent id of zeros', `00-${ID}-0000000000000000-01`],
    ['a short trace id', `00-${ID.slice(1)}-00f067aa0ba902b7-01`],
    ['a long trace id', `00-${ID}0-00f067aa0ba902b7-01`],
    ['a short parent id', `00-${ID}-0f067aa0ba902b7-01`],
    ['no flags', `00-${ID}-00f067aa0ba902b7`],
    ['one digit of flags', `00-${ID}-00f067aa0ba902b7-1`],
    ['underscores', PARENT.replaceAll('-', '_')],
    ['spaces around it', ` ${PARENT}`],
    ['two of them', `${PARENT}, ${PARENT}`],
    ['an end of line', `${PARENT}\r\nx: y`],
    ['an end of line behind a later version', `01-${ID}-00f067aa0ba902b7-01-\r\nx: y`],
    ['an end of line at its very end', `${PARENT}\n`],
  ])('drops %s', (_what, given) => {
    expect(traceOf({ traceparent: given, tracestate: 'a=1' })).toBeNull();
  });
});

describe('tracestate', () => {
  it.each(['rojo=00f067aa0ba902b7,congo=t61rcWkgMzE', 'tenant@system=1', '0a=x', 'a-b_c*d/e=!#$ %~', `k=${'v'.repeat(256)}`])(
    'passes %s on',
    (given) => {
      expect(stateOf(given)).toBe(given);
    },
  );

  it('takes out what says nothing', () => {
    expect(stateOf('a=1 ,\t, b=2,')).toBe('a=1,b=2');
    expect(traceOf({ traceparent: PARENT, tracestate: '' })?.lines).toBe(`traceparent: ${PARENT}\r\n`);
  });

  it.each([
    'a',
    '=1',
    'A=1',
    'a=1=2',
    'a=',
    'a=1,a=2',
    'a b=1',
    'a=\u007f',
    'a=ü',
    'a=1\r\nx: y',
    `${'k'.repeat(257)}=1`,
    `k=${'v'.repeat(257)}`,
    Array.from({ length: 33 }, (_, index) => `k${index}=1`).join(','),
  ])('drops %j, and keeps the parent', (given) => {
    expect(lines(PARENT, given)).toBe(`traceparent: ${PARENT}\r\n`);
  });

  it('is of no use without a parent', () => {
    expect(lines(undefined, 'a=1')).toBeNull();
  });

  it('has at most 512 characters: long entries go first, then the oldest, always whole ones', () => {
    const short = (count: number) => Array.from({ length: count }, (_, index) => `k${String(index).padStart(2, '0')}=${'v'.repeat(15)}`);
    const fits = `a=${'x'.repeat(254)},b=${'x'.repeat(253)}`;
    expect([fits.length, stateOf(fits)]).toEqual([512, fits]);
    expect(stateOf(`a=${'x'.repeat(254)},b=${'x'.repeat(254)}`)).toBe(`a=${'x'.repeat(254)}`);
    const many = short(30);
    expect(stateOf(many.join(','))).toBe(many.slice(0, 25).join(','));
    expect(stateOf([`long=${'x'.repeat(200)}`, ...short(16), 'z=1'].join(','))).toBe([...short(16), 'z=1'].join(','));
  });
});
