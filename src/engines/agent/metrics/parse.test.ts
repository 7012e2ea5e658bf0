import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MetricsFormatError, parseSamples } from './parse.ts';

function read(page: string, ...wanted: string[]) {
  const samples = parseSamples(page, new Set(wanted));
  return Object.fromEntries(
    [...samples].map(([name, list]) => [name, list.map(({ labels, value }) => [Object.fromEntries(labels), value])]),
  );
}

describe('parseSamples', () => {
  it('reads samples with labels, without, with a time, in any spacing', () => {
    const page = '# HELP a Text.\n# TYPE a gauge\na 1\nb{x="1",y="two"} 2.5e+3\r\nb{x="2",}  -1 1700000000\nc{} .5\n\na\t3';
    expect(read(page, 'a', 'b', 'c')).toEqual({
      a: [
        [{}, 1],
        [{}, 3],
      ],
      b: [
        [{ x: '1', y: 'two' }, 2500],
        [{ x: '2' }, -1],
      ],
      c: [[{}, 0.5]],
    });
  });

  it('reads escapes, and braces, commas and spaces within quotes', () => {
    expect(read(String.raw`a{x="q\"uo\\te\n",y="{1, 2} = \"3\""} 1`, 'a')).toEqual({
      a: [[{ x: 'q"uo\\te\n', y: '{1, 2} = "3"' }, 1]],
    });
  });

  it('reads what is no ordinary number', () => {
    expect(read('a NaN\na +Inf\na -Inf', 'a')).toEqual({
      a: [
        [{}, Number.NaN],
        [{}, Number.POSITIVE_INFINITY],
        [{}, Number.NEGATIVE_INFINITY],
      ],
    });
  });

  it('takes whole names only and does not look at other lines', () => {
    expect(read('a_total 1\nab 2\n}{ what?\na 3\n# a 4', 'a')).toEqual({ a: [[{}, 3]] });
    expect(read('', 'a')).toEqual({});
  });

  it.each(['a', 'a ', 'a x', 'a 1 2 3', 'a{x="1" 1', 'a{x=1} 1', 'a{x="1"y="2"} 1', 'a{x} 1', 'a{x="1"}', 'a 0x10', 'a 1,5', 'a{="1"} 1'])(
    'refuses "%s"',
    (line) => {
      expect(() => read(line, 'a')).toThrow(MetricsFormatError);
      expect(() => read(line, 'a')).toThrow(/metrics: a: expected .+, got/);
    },
  );

  it('reads or refuses any text, and never fails otherwise, nor takes long', () => {
    const part = fc.constantFrom('a', '{', '}', '"', '\\', ',', '=', ' ', '\n', '1', 'x="1"', '\t');
    fc.assert(
      fc.property(fc.array(part, { maxLength: 200 }), (parts) => {
        try {
          read(`a${parts.join('')}`, 'a');
        } catch (error) {
          expect(error).toBeInstanceOf(MetricsFormatError);
        }
      }),
      { numRuns: 2000 },
    );
    expect(() => read(`a{${'x="1",'.repeat(50_000)}`, 'a')).toThrow(MetricsFormatError);
    expect(() => read(`a{x="${'\\"'.repeat(50_000)}`, 'a')).toThrow(MetricsFormatError);
  });
});
