import { describe, expect, it } from 'vitest';
import { SluiceError } from '../../shared/index.ts';
import { traitsOf, wantsSeed } from './traits.ts';

describe('traitsOf', () => {
  it.each<[object, object]>([
    [{}, { undivided: false, repeatable: false, choices: 1, cacheSalt: '', streamOptions: false }],
    [{ temperature: 0 }, { repeatable: true }],
    [{ temperature: 0.1 }, { repeatable: false }],
    [{ temperature: 1, seed: 0 }, { repeatable: true }],
    [{ seed: null }, { repeatable: false }],
    [{ n: 2 }, { undivided: true, choices: 2 }],
    [
      { n: 1, best_of: 1, echo: false, prompt_logprobs: null },
      { undivided: false, choices: 1 },
    ],
    [
      { prompt: ['a', 'b', 'c'], n: 2 },
      { undivided: true, choices: 6 },
    ],
    [{ prompt: ['a'] }, { undivided: false, choices: 1 }],
    [{ prompt: [1, 2, 3] }, { undivided: false, choices: 1 }],
    [{ prompt: [[1], [2]] }, { undivided: true, choices: 2 }],
    [{ best_of: 3 }, { undivided: true }],
    [{ use_beam_search: true }, { undivided: true }],
    [{ echo: true }, { undivided: true }],
    [{ prompt_logprobs: 0 }, { undivided: true }],
    [{ prompt_embeds: 'x' }, { undivided: true }],
    [{ truncate_prompt_tokens: -1 }, { undivided: true }],
    [{ cache_salt: 's' }, { cacheSalt: 's' }],
    [{ cache_salt: 5 }, { cacheSalt: '' }],
    [{ stream_options: null }, { streamOptions: true }],
  ])('reads %j', (body, expected) => {
    expect(traitsOf('completion', body as Record<string, unknown>)).toMatchObject(expected);
  });

  it('does not count prompts of a chat', () => {
    expect(traitsOf('chat', { prompt: ['a', 'b'] })).toMatchObject({ choices: 1, undivided: false });
  });
});

describe('wantsSeed', () => {
  it.each([
    [undefined, false],
    [{}, false],
    [{ resume: 'exact' }, true],
  ])('takes %j', (field, expected) => {
    expect(wantsSeed(field)).toBe(expected);
  });

  it.each([null, 'exact', [], { resume: 'fresh' }, { other: 1 }])('refuses %j', (field) => {
    expect(() => wantsSeed(field)).toThrow(SluiceError);
  });
});
