import { describe, expect, it } from 'vitest';
import { parseFlags } from './flags.ts';

const FLAGS = {
  file: { type: 'string', short: 'f', multiple: true },
  name: { type: 'string' },
  once: { type: 'boolean' },
} as const;

describe('parseFlags', () => {
  it('reads long and short flags, values and words', () => {
    expect(parseFlags(['-f', 'a', '--file=b', '--once', 'word'], FLAGS, 1)).toEqual({
      ok: true,
      words: ['word'],
      flags: { file: ['a', 'b'], name: null, once: true },
    });
  });

  it.each([
    [['--onec'], 'unknown flag --onec; did you mean --once?'],
    [['-x'], 'unknown flag -x'],
    [['--name'], '--name needs a value'],
    [['--name='], '--name needs a value'],
    [['--once=1'], '--once takes no value'],
    [['--name', 'a', '--name', 'b'], '--name may be given once'],
    [['word'], 'unexpected argument "word"'],
  ])('refuses %j', (argv, message) => {
    expect(parseFlags(argv, FLAGS)).toEqual({ ok: false, message });
  });
});
