import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { brokenRules, CEL_RULES, celRule, celText, type Rule, ruled, withCelRules } from './rule.ts';

interface Times {
  readonly short: string;
  readonly long: { readonly ms: string };
}

const ORDER: Rule<Times> = {
  field: 'long.ms',
  expected: 'at least {short}, not {long.ms}: raise it',
  cel: 'self.long.ms >= self.short',
  holds: ({ short, long }) => Number(long.ms) >= Number(short),
};

describe('a rule', () => {
  it('says in both languages what was expected, with the values of the resource', () => {
    expect(brokenRules([ORDER], { short: '2', long: { ms: '1' } })).toEqual([
      { path: ['long', 'ms'], expected: 'at least 2, not 1: raise it' },
    ]);
    expect(celRule(ORDER)).toEqual({
      rule: 'self.long.ms >= self.short',
      messageExpression: "'expected at least ' + self.short + ', not ' + self.long.ms + ': raise it'",
      fieldPath: '.long.ms',
    });
  });

  it('that holds says nothing', () => expect(brokenRules([ORDER], { short: '1', long: { ms: '1' } })).toEqual([]));

  it('with a fixed sentence is a plain message, and without a field is about the value itself', () => {
    expect(celRule({ ...ORDER, field: '', expected: 'it is' })).toEqual({ rule: ORDER.cel, message: 'expected it is' });
  });

  it('stands on a schema beside those that were there', () => {
    const schema = ruled(withCelRules(z.string(), [{ rule: 'a', message: 'b' }]), [
      { ...ORDER, field: '', expected: 'c', holds: () => false },
    ]);
    expect(schema.meta()?.[CEL_RULES]).toEqual([
      { rule: 'a', message: 'b' },
      { rule: ORDER.cel, message: 'expected c' },
    ]);
    expect(schema.safeParse('x').error?.issues.map(({ message }) => message)).toEqual(['c']);
  });
});

it.each([
  ['plain', "'plain'"],
  ["it's", "'it\\'s'"],
  ['^\\d+$', "r'^\\d+$'"],
  ["\\'", "'\\\\\\''"],
])('celText(%j) is %s', (text, literal) => expect(celText(text)).toBe(literal));
