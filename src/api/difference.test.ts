import { describe, expect, it } from 'vitest';
import { differences } from './difference.ts';

describe('differences', () => {
  it('are none between equal values, whatever the order of fields is and whether an absent one is written', () => {
    expect(differences({ a: 1, b: { c: ['x', { d: 1 }] } }, { b: { c: ['x', { d: 1 }], e: undefined }, a: 1 })).toEqual([]);
  });

  it('name the innermost field, with what is absent undefined', () => {
    const before = { decode: { replicas: 1, gone: true }, args: ['a'], env: { 'a.b': '1' } };
    const after = { decode: { replicas: 2 }, args: ['a', 'b'], env: { 'a.b': '2' }, slo: { p99: '1s' } };
    expect(differences(before, after, ['spec'])).toEqual([
      { path: 'spec.decode.replicas', before: 1, after: 2 },
      { path: 'spec.decode.gone', before: true, after: undefined },
      { path: 'spec.args', before: ['a'], after: ['a', 'b'] },
      { path: 'spec.env["a.b"]', before: '1', after: '2' },
      { path: 'spec.slo', before: undefined, after: { p99: '1s' } },
    ]);
  });

  it('are seen inside of lists', () => {
    expect(differences({ a: [{ b: 1 }] }, { a: [{ b: 2 }] })).toHaveLength(1);
    expect(differences({ a: [1] }, { a: { 0: 1 } })).toHaveLength(1);
  });
});
