import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { block, duration, list, mapping, quantity, text, wholeNumber } from '../fields.ts';
import { structural, withoutForms } from './structural.ts';

const word = { expected: 'a word', pattern: /^[a-z]*$/, max: 9 };

describe('a structural schema', () => {
  it('has fields with their types, bounds and defaults, and nothing that only readers need', () => {
    const schema = block({
      count: wholeNumber({ min: 1, max: 3 }).default(2).describe('Count.'),
      words: list(text(word), 'words', 4).optional().describe('Words.'),
      labels: mapping(word, text(word), 5).default({}).describe('Labels.'),
    });
    expect(withoutForms(structural(schema))).toEqual({
      type: 'object',
      properties: {
        count: { type: 'integer', description: 'Count.', default: 2, minimum: 1, maximum: 3 },
        words: {
          type: 'array',
          description: 'Words.',
          maxItems: 4,
          'x-kubernetes-list-type': 'atomic',
          items: { type: 'string', pattern: '^[a-z]*$', maxLength: 9 },
        },
        labels: {
          type: 'object',
          description: 'Labels.',
          default: {},
          maxProperties: 5,
          additionalProperties: { type: 'string', pattern: '^[a-z]*$', maxLength: 9 },
          'x-kubernetes-validations': [{ rule: "self.all(key, key.matches('^[a-z]*$'))", message: 'expected every key to be a word' }],
        },
      },
    });
  });

  it('takes quantities as text or as a number', () => {
    const { properties } = structural(block({ size: quantity({ min: 1_024, max: 2_048 }).describe('Size.') }));
    expect(properties?.['size']).toMatchObject({ 'x-kubernetes-int-or-string': true, maxLength: 32 });
    expect(properties?.['size']).not.toHaveProperty('type');
    expect(properties?.['size']).not.toHaveProperty('anyOf');
  });

  it('bounds durations by a rule', () => {
    const { properties } = structural(block({ time: duration({ min: 10, max: 60_000 }).describe('Time.') }));
    expect(properties?.['time']?.['x-kubernetes-validations']?.[0]?.rule).toContain("duration(self) <= duration('1m')");
  });

  it.each([
    ['several types', z.union([z.object({}), z.literal('a')]).describe('A.'), 'a is one of several types'],
    ['no description', text(word), 'a has no description'],
    ['no full stop', text(word).describe('A'), 'a has no description'],
    ['a text without a bound', z.string().describe('A.'), 'a is a string without bounds'],
    ['a number without a bound', z.number().min(1).describe('A.'), 'a is a number without bounds'],
    ['a list without a bound', z.array(text(word)).describe('A.'), 'a is a array without bounds'],
    ['a list without a type', z.array(text(word)).max(2).describe('A.'), 'a is a array without bounds or list type'],
    ['a mapping without a bound', z.record(z.string(), text(word)).describe('A.'), 'a is a object without bounds'],
    ['anything', z.unknown().describe('A.'), 'a has no type'],
    ['a tuple', z.tuple([text(word)]).describe('A.'), 'a says minItems'],
    ['a pattern that looks ahead', text({ ...word, pattern: /^(?!b)a/ }).describe('A.'), 'a has a pattern that RE2 does not know'],
    ['a pattern that looks back', text({ ...word, pattern: /(?<!b)a/ }).describe('A.'), 'a has a pattern that RE2'],
    ['a pattern that repeats too often', text({ ...word, pattern: /^a{0,1001}$/ }).describe('A.'), 'a has a pattern that RE2'],
    ['a word that Kubernetes does not know', text(word).meta({ title: 'x' }).describe('A.'), 'a says title'],
  ])('cannot have %s', (_, field, message) => {
    expect(() => structural(z.strictObject({ a: field }))).toThrow(message);
    expect(() => structural(z.strictObject({ b: z.strictObject({ a: field }).describe('B.') }))).toThrow(`b.${message}`);
  });
});
