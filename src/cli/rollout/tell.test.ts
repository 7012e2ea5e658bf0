import { describe, expect, it } from 'vitest';
import { changeLines, changesAnything, differenceLines } from './tell.ts';

describe('what a change would do, in words', () => {
  it('tells each part once', () => {
    const parts = [
      { part: 'prefill', before: 1, after: 1, because: [] },
      { part: 'decode', before: 2, after: 3, because: ['spec.engine.args', 'spec.engine.env'] },
      { part: 'router', before: 1, after: 2, because: [] },
    ] as const;
    expect(changeLines({ parts, newFamily: false })).toEqual([
      '  prefill   stays as it is',
      '  decode    2 instances replaced, one at a time, with room for one more, then 1 more   because of spec.engine.args, spec.engine.env',
      '  router    1 router more; the 1 that run stay',
    ]);
    expect(changesAnything({ parts, newFamily: false })).toBe(true);
    expect(changesAnything({ parts: [{ part: 'router', before: 1, after: 1, because: [] }], newFamily: false })).toBe(false);
  });

  it('tells of roles that come and go, and of a family that changes', () => {
    const parts = [
      { part: 'decode', before: 3, after: 0, because: [] },
      { part: 'mixed', before: 0, after: 1, because: [] },
      { part: 'router', before: 1, after: 1, because: [] },
    ] as const;
    const lines = changeLines({ parts, newFamily: true });
    expect(lines.slice(0, 2)).toEqual([
      '  decode    3 instances to drain and end, when what takes over serves',
      '  mixed     1 instance to start',
    ]);
    expect(lines.join('\n')).toContain('take over together');
  });

  it('shows values as they are written, cut where they are long', () => {
    const [line, long] = differenceLines([
      { path: 'spec.engine.args', before: undefined, after: ['-x'] },
      { path: 'spec.a', before: 'x'.repeat(100), after: 1 },
    ]);
    expect(line).toBe('  spec.engine.args  (absent) → ["-x"]');
    expect(long).toMatch(/^ {2}spec\.a {12}"x{58}… → 1$/);
  });
});
