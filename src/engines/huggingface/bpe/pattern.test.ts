import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Automaton } from './automaton.ts';
import { categoryOf } from './categories.ts';
import { readPattern } from './pattern.ts';
import { Unclaimed } from './unclaimed.ts';

function unitsOf(text: string): Uint16Array {
  return Uint16Array.from({ length: text.length }, (_, at) => text.charCodeAt(at));
}

function matchesOf(pattern: string, text: string): string[] {
  const automaton = new Automaton(readPattern(pattern));
  const units = unitsOf(text);
  automaton.begin(text.length);
  const found: string[] = [];
  for (let at = 0; automaton.find(units, at, text.length); at = automaton.end) found.push(text.slice(automaton.start, automaton.end));
  return found;
}

describe('a pattern', () => {
  /** Patterns that mean the same to JavaScript, of a few letters, so that much of what they say comes into play. */
  const set = fc.constantFrom('a', 'b', 'c', '[ab]', '[^a]', '[b-d]', '\\p{L}', '[^\\s\\p{L}]', '1', '\\S', '\\s');
  const quantifier = fc.constantFrom('', '', '?', '*', '+', '{2}', '{1,3}', '{2,}');
  const ahead = fc.constantFrom('(?!\\S)', '(?!a)', '(?=[bc])', '(?!\\p{L})');
  const part = fc.oneof(
    { weight: 6, arbitrary: fc.tuple(set, quantifier).map((both) => both.join('')) },
    ahead,
    fc.tuple(set, set, set, quantifier).map(([one, two, three, often]) => `(?:${one}${two}|${three})${often}`),
  );
  const alternative = fc.tuple(set, fc.array(part, { maxLength: 4 })).map(([first, rest]) => first + rest.join(''));
  const anyPattern = fc.array(alternative, { minLength: 1, maxLength: 4 }).map((all) => all.join('|'));
  const anyText = fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'd', '1', ' ', '\n', '🙂', 'é'), maxLength: 30 });

  it('finds what a backtracking engine finds', () => {
    fc.assert(
      fc.property(anyPattern, anyText, (pattern, text) => {
        expect(matchesOf(pattern, text)).toEqual(text.match(new RegExp(pattern, 'gu')) ?? []);
      }),
      { numRuns: 150 },
    );
  });

  it.each([
    ['gives nothing back that it took possessively', 'a++b|ab', 'aab ab', ['aab', 'ab']],
    ['takes all of a run before it looks further', '\\s++$|\\s', 'a  \n b ', [' ', ' ', '\n', ' ', ' ']],
    ['repeats an interval that has a plus', '[0-9]{1,3}+', '1234567 89', ['1234567', '89']],
    ['takes the end for one of a line, also after one', '\\s+$', 'a  \nb \n', ['  ', ' \n']],
    ['knows the long s of contractions', "(?i:'s|'t|'re|'ve|'m|'ll|'d)", "'ſ 'LL 'Re 's'T", ["'ſ", "'LL", "'Re", "'s", "'T"]],
    ['sees white space as Unicode does', '\\s', '\u0085\ufeff\u00a0', ['\u0085', '\u00a0']],
    ['reads brackets, dashes and signs', '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~a-c-]', 'b-]z\\', ['b', '-', ']', '\\']],
  ])('%s', (_what, pattern, text, expected) => expect(matchesOf(pattern, text)).toEqual(expected));

  it.each([
    'a*',
    'a|b?',
    'a+?',
    'a.b',
    '\\w+',
    '\\d',
    '\\bword',
    '^a',
    '(?i:x)',
    '(?<=a)b',
    '(?<name>a)',
    '(?>a)',
    '[a[b]]',
    '[a&&b]',
    '[[:alpha:]]',
    '[\\s-z]',
    '[z-a]',
    '[]a]',
    '\\p{Han}',
    '\\p{^L}',
    '\\u0041',
    'a{2',
    'a{,3}',
    'a{3,1}',
    'a**',
    'a{2}{3}',
    '(ab)++',
    '(?!ab)c',
    'a)',
    '(a',
    '[a',
    'a\\',
    'é{1001}',
  ])('%s is not claimed', (pattern) => expect(() => readPattern(pattern)).toThrow(Unclaimed));

  it('that looks ahead again and again ends', () => {
    const automaton = new Automaton(readPattern('a+b|a'));
    const units = unitsOf('a'.repeat(100_000));
    automaton.begin(units.length);
    const all = () => {
      for (let at = 0; automaton.find(units, at, units.length); at = automaton.end);
    };
    expect(all).toThrow(/looks at this text more than 64 times over/);
  });

  it('that fails along a run looks at it once', () => {
    const automaton = new Automaton(readPattern('\\s+$'));
    const units = unitsOf(`${' '.repeat(200_000)}x`);
    automaton.begin(units.length);
    expect(automaton.find(units, 0, units.length)).toBe(false);
  });
});

it('the categories are those of Node but for characters that one of them does not know, and one that changed', () => {
  // Node's Unicode is younger than Oniguruma's: what is assigned here has the same category there.
  for (const name of ['Lu', 'Ll', 'Lt', 'Lm', 'Lo', 'M', 'N', 'P', 'S']) {
    const inNode = new RegExp(`^\\p{${name}}$`, 'u');
    const differing = (categoryOf(name)?.ranges ?? []).flatMap(([first, last]) =>
      Array.from({ length: last - first + 1 }, (_, at) => first + at).filter((point) => !inNode.test(String.fromCodePoint(point))),
    );
    expect(differing, name).toEqual(name === 'Ll' ? [0x295] : []);
  }
  expect(categoryOf('toString')).toBeNull();
});
