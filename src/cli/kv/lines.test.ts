import { describe, expect, it } from 'vitest';
import type { KvVerified, KvView, KvWhere } from '../../router/index.ts';
import type { Paint } from '../terminal.ts';
import { drainLines } from './drain.ts';
import { statLines } from './stat.ts';
import { exitCode, verifyLines } from './verify.ts';
import { whereLines } from './where.ts';

const same = (text: string) => text;
const PAINT: Paint = { bold: same, dim: same, green: same, red: same, yellow: same, cyan: same };
const MIB = 2 ** 20;

describe('sluice kv stat', () => {
  it('has a row for every tier, and says what is wrong with a store', () => {
    const view: KvView = {
      model: 'm',
      directory: { blocks: 1200, instances: 1, expectations: 0, evicted: 3 },
      instances: [
        {
          id: 'decode-0',
          role: 'decode',
          connected: true,
          blockTokens: 16,
          bytesPerBlock: 16_384,
          tiers: {
            hbm: { usedBytes: MIB, cachedBytes: MIB, capacityBytes: 4 * MIB },
            host: { usedBytes: MIB, cachedBytes: 2 * MIB, capacityBytes: 4 * MIB, pinnedBytes: MIB },
            store: { kind: 'folder', reason: 'DiskFull', message: 'free some', usedBytes: 0, cachedBytes: MIB, capacityBytes: 8 * MIB },
          },
          leases: 0,
          promptTokens: { hbm: 100, host: 20, peer: 0, store: 480, computed: 1000 },
        },
      ],
    };
    expect(statLines('d', view, PAINT)).toEqual([
      'd  m  the router knows of 1,200 blocks, and forgot 3 for want of room',
      '',
      'instance  tier                held        of  full    in use    pinned  prompt tokens',
      'decode-0  hbm             2.00 MiB  4.00 MiB  50 %  1.00 MiB         –            100',
      '          host            3.00 MiB  4.00 MiB  75 %  1.00 MiB  1.00 MiB             20',
      '          store (folder)  1.00 MiB  8.00 MiB  13 %       0 B         –            480',
      '          peer                   –         –     –         –         –              0',
      '          computed               –         –     –         –         –          1,000',
      'decode-0: store DiskFull: free some',
    ]);
  });
});

describe('sluice kv where', () => {
  const place = { role: 'decode', hbm: 0, host: 0, store: 0, held: 0, by: 'engine' } as const;

  it('shows who has how much of a prompt, most first', () => {
    const where: KvWhere = {
      kind: 'request',
      id: 'r-1',
      blocks: 10,
      places: [
        { ...place, id: 'a', held: 4, host: 4 },
        { ...place, id: 'b', hbm: 10, store: 3, held: 10, by: 'directory' },
      ],
    };
    expect(whereLines(where, PAINT)).toEqual([
      'request r-1: 10 whole blocks of its prompt',
      '',
      'instance  role    held  HBM  host  store  says',
      'b         decode   all  all     –      3  directory',
      'a         decode     4    –     4      –  engine',
    ]);
  });

  it('says it when nobody has it', () => {
    expect(whereLines({ kind: 'key', id: 'f'.repeat(32), blocks: 1, places: [{ ...place, id: 'a' }] }, PAINT)[1]).toMatch(
      /No instance holds it/,
    );
  });
});

describe('sluice kv verify', () => {
  const host = { blocks: 3, bytes: 3 * 16_384, bad: [] };
  const store = { groups: 2, blocks: 60, bytes: MIB, bad: [], partial: false };

  it('says that all is well', () => {
    const verified: KvVerified = { instances: [{ id: 'a', verdict: { host, store } }] };
    expect(verifyLines(verified, PAINT)).toEqual(['a: host 3 blocks, 48.0 KiB; store 60 blocks in 2 groups, 1.00 MiB: all is well']);
    expect(exitCode(verified)).toBe(0);
  });

  it('names what is damaged, and who could not be asked', () => {
    const bad = [{ group: 'g-1', why: 'the checksum of block 3 is wrong' }];
    const verified: KvVerified = {
      instances: [
        { id: 'a', verdict: { host, store: { ...store, bad, partial: true } } },
        { id: 'b', why: 'an engine of its kind cannot be asked' },
      ],
    };
    expect(verifyLines(verified, PAINT)).toEqual([
      'a: host 3 blocks, 48.0 KiB; store 60 blocks in 2 groups, 1.00 MiB: 1 damaged, removed',
      '  store group g-1: the checksum of block 3 is wrong',
      '  the store has more than was looked at',
      'b: not verified: an engine of its kind cannot be asked',
    ]);
    expect(exitCode(verified)).toBe(3);
    expect(exitCode({ instances: [{ id: 'b', why: 'x' }] })).toBe(1);
  });
});

describe('sluice kv drain', () => {
  const outcome = { instance: 'decode-0', moved: 2, recomputed: 0, aborted: {}, others: 0, left: 0, ms: 1_240 } as const;

  it('says what this router moved, what others had, and what is left of all', () => {
    expect(drainLines(outcome)).toEqual(['decode-0: 2 streams moved in 1.2 s', 'nothing is left on it']);
    expect(drainLines({ ...outcome, moved: 1, recomputed: 1, aborted: { full: 3 }, others: 5, left: 4 })).toEqual([
      'decode-0: 1 stream moved in 1.2 s',
      'requests of other routers that were on it, which those see to: 5',
      '1 stream computed again elsewhere: the engine does not offer blocks of a running request',
      'moves that were given up and tried again: 3 full',
      '4 still there: no place elsewhere, no stream, or not begun; sluice explain <request-id> tells',
    ]);
    expect(drainLines({ ...outcome, left: null })[1]).toBe('it ended meanwhile, or does not say any more what is left on it');
  });
});
