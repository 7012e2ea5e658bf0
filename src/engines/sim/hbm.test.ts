import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { KvBlock } from '../../kv/index.ts';
import { HbmBlocks } from './hbm.ts';

const block = (key: string): KvBlock => ({ key, parent: null, tokens: new Int32Array(0), bytes: new Uint8Array(0), crc: 0 });

describe('HbmBlocks', () => {
  it('evicts the longest unused first, the end of a chain before its start, and never what is used', () => {
    const hbm = new HbmBlocks(4);
    hbm.reserve(4);
    for (const key of ['a', 'b', 'c', 'd']) expect(hbm.commit(block(key))).toBe(true);
    hbm.leave(['a', 'b', 'c']);
    expect(hbm.inUse).toBe(1);
    expect(hbm.use('b')).toBe(true);
    expect(hbm.reserve(2)?.map(({ key }) => key)).toEqual(['c', 'a']);
    expect(hbm.reserve(1)).toBeNull();
    expect([...hbm.keys()].sort()).toEqual(['b', 'd']);
  });

  it('keeps one block when two sequences finish the same', () => {
    const hbm = new HbmBlocks(2);
    hbm.reserve(2);
    expect(hbm.commit(block('a'))).toBe(true);
    expect(hbm.commit(block('a'))).toBe(false);
    expect(hbm.inUse).toBe(1);
    hbm.leave(['a']);
    expect(hbm.inUse).toBe(1);
    hbm.leave(['a']);
    expect(hbm.inUse).toBe(0);
  });

  it('never holds more than it has, whatever happens', () => {
    const action = fc.oneof(
      fc.record({ type: fc.constant('reserve' as const), count: fc.integer({ min: 1, max: 4 }) }),
      fc.record({ type: fc.constant('commit' as const), key: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f') }),
      fc.record({ type: fc.constant('leave' as const), key: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f') }),
    );
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
        const hbm = new HbmBlocks(5);
        let unfinished = 0;
        const users = new Map<string, number>();
        for (const step of actions) {
          if (step.type === 'reserve' && hbm.reserve(step.count)) unfinished += step.count;
          if (step.type === 'commit' && unfinished > 0) {
            unfinished -= 1;
            hbm.commit(block(step.key));
            users.set(step.key, (users.get(step.key) ?? 0) + 1);
          }
          if (step.type === 'leave' && (users.get(step.key) ?? 0) > 0) {
            hbm.leave([step.key]);
            users.set(step.key, (users.get(step.key) ?? 0) - 1);
          }
          const held = [...users].filter(([, count]) => count > 0);
          expect(hbm.inUse).toBe(unfinished + held.length);
          expect([...hbm.keys()].length + unfinished).toBeLessThanOrEqual(5);
          for (const [key] of held) expect(hbm.peek(key)).not.toBeNull();
        }
      }),
    );
  });
});
