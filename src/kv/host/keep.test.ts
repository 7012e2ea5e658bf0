import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../shared/index.ts';
import { type KvBlock, kvBlock } from './block.ts';
import { HostTier } from './tier.ts';

const keyOf = (chain: number, index: number) => `${chain}-${index}`;
const keysOf = (blocks: readonly KvBlock[]) => blocks.map(({ key }) => key);

/** Blocks of 100 bytes. */
function chainOf(chain: number, length: number): KvBlock[] {
  return Array.from({ length }, (_, index) => {
    const parent = index === 0 ? null : keyOf(chain, index - 1);
    return kvBlock(keyOf(chain, index), parent, Int32Array.of(chain, index), new Uint8Array(100));
  });
}

function tierOf(blocks: number) {
  const clock = new FakeClock();
  return { tier: new HostTier({ capacityBytes: blocks * 100, clock }), clock };
}

describe('keeping', () => {
  it('holds blocks whatever else wants their room, until they are let go', () => {
    const { tier, clock } = tierOf(3);
    tier.putChain(chainOf(1, 2));
    expect(tier.keep([keyOf(1, 0), keyOf(1, 1), keyOf(1, 2)]), 'not all are there').toBeNull();
    const kept = tier.keep(keysOf(chainOf(1, 2)));
    expect(kept).toMatchObject({ bytes: 200 });
    clock.advance(1e9);
    expect(tier.putChain(chainOf(2, 2))).toBe(1);
    expect(tier.putChain(chainOf(3, 2))).toBe(1);
    expect(chainOf(1, 2).every(({ key }) => tier.has(key))).toBe(true);
    expect([tier.discard(keyOf(1, 0)), tier.leases]).toEqual([false, 0]);
    kept?.release();
    kept?.release();
    expect(tier.load()).toEqual({ usedBytes: 0, cachedBytes: 300, capacityBytes: 300, pinnedBytes: 0 });
    expect(tier.putChain(chainOf(4, 3))).toBe(3);
  });

  it('counts blocks once that are kept twice, and leaves to each its own', () => {
    const { tier } = tierOf(4);
    const chain = chainOf(1, 3);
    tier.putChain(chain);
    const [short, long] = [tier.keep(keysOf(chain.slice(0, 2))), tier.keep(keysOf(chain))];
    expect([tier.load().pinnedBytes, tier.notKept([...keysOf(chain), keyOf(2, 0)])]).toEqual([300, 1]);
    long?.release();
    expect([tier.load().pinnedBytes, tier.notKept(keysOf(chain))]).toEqual([200, 1]);
    tier.clear();
    short?.release();
    expect(tier.load()).toMatchObject({ usedBytes: 0, pinnedBytes: 0 });
    tier.putChain(chain);
    expect(tier.load()).toMatchObject({ usedBytes: 0, cachedBytes: 300 });
  });
});
