import { describe, expect, it } from 'vitest';
import { lineRing } from './lines.ts';

describe('lineRing', () => {
  it('puts lines together from pieces and keeps the newest', () => {
    const seen: string[] = [];
    const ring = lineRing(2, 100, (line) => seen.push(line));
    ring.write('one\ntw');
    ring.write('o\n\nthree\nunfinished');
    expect(seen).toEqual(['one', 'two', 'three']);
    expect(ring.last(10)).toEqual(['two', 'three', 'unfinished']);
    expect(ring.last(1)).toEqual(['unfinished']);
  });

  it('holds a bounded part of a line that never ends', () => {
    const ring = lineRing(2, 10);
    for (let piece = 0; piece < 1000; piece++) ring.write('x'.repeat(1000));
    expect(ring.last(1)).toEqual(['x'.repeat(10)]);
  });
});
