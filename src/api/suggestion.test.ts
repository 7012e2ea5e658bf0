import { describe, expect, it } from 'vitest';
import { nearestName } from './suggestion.ts';

describe('nearestName', () => {
  const known = ['model', 'engine', 'replicas', 'contextTokens'];

  it.each([
    ['replica', 'replicas'],
    ['replcias', 'replicas'],
    ['modle', 'model'],
    ['contexttokens', 'contextTokens'],
    ['Engine', 'engine'],
  ])('%s was probably %s', (typed, meant) => expect(nearestName(typed, known)).toBe(meant));

  it.each(['router', 'x', '', 'q'.repeat(10_000)])('nothing is near "%s"', (typed) => expect(nearestName(typed, known)).toBeNull());
});
