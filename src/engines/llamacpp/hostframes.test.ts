import { describe, expect, it } from 'vitest';
import { HostTier } from '../../kv/index.ts';
import { FakeClock } from '../../shared/index.ts';
import { type HostChain, HostFrames } from './hostframes.ts';

const SHAPE = { blockTokens: 4, bytesPerBlock: 100 };

const chainOf = (name: number, length: number): HostChain => ({
  keys: Array.from({ length }, (_, i) => `${name}${i}`.padStart(32, '0')),
  parent: null,
  tokens: Int32Array.from({ length: length * 4 }, (_, at) => name * 1000 + at),
  tenant: '',
});

/** A tier of `blocks` blocks; `put` fills block i of chain n with n * 16 + i, and tells which targets were asked for. */
function tierOf(blocks: number) {
  const host = new HostTier({ capacityBytes: blocks * 100, clock: new FakeClock(), newLeaseId: () => 'lease' });
  const frames = new HostFrames(host, SHAPE);
  const asked: number[] = [];
  const put = (name: number, length: number) =>
    frames.putChain(chainOf(name, length), (targets, from) => {
      asked.push(targets.length);
      for (const [i, target] of targets.entries()) target.fill(name * 16 + from + i);
    });
  const held = (name: number, i: number) => host.peek(`${name}${i}`.padStart(32, '0'));
  return { host, frames, put, held, asked };
}

describe('HostFrames', () => {
  it('stores a chain, each block with its own bytes, tokens and parent', () => {
    const { put, held } = tierOf(8);
    expect(put(1, 3)).toBe(3);
    expect([0, 1, 2].map((i) => [held(1, i)?.bytes[0], held(1, i)?.tokens[0], held(1, i)?.parent])).toEqual([
      [16, 1000, null],
      [17, 1004, chainOf(1, 1).keys[0]],
      [18, 1008, chainOf(1, 2).keys[1]],
    ]);
  });

  it('asks only for what is not held', () => {
    const { put, held, asked } = tierOf(8);
    put(1, 2);
    const first = held(1, 0);
    expect([put(1, 2), put(1, 4)]).toEqual([2, 4]);
    expect(asked).toEqual([2, 2]);
    expect(held(1, 0)).toBe(first);
    expect(held(1, 3)?.bytes[0]).toBe(19);
  });

  it('uses the memory of forgotten blocks again, and never that of held ones', () => {
    const { put, held } = tierOf(4);
    const places = new Set<string>();
    const buffers: ArrayBufferLike[] = [];
    for (let name = 1; name <= 9; name++) {
      expect(put(name, 3)).toBe(3);
      for (let i = 0; i < 3; i++) {
        const bytes = held(name, i)?.bytes as Uint8Array;
        if (!buffers.includes(bytes.buffer)) buffers.push(bytes.buffer);
        places.add(`${buffers.indexOf(bytes.buffer)}:${bytes.byteOffset}`);
        expect([...new Set(bytes)]).toEqual([(name * 16 + i) & 255]);
      }
      const kept = held(name - 1, 0);
      if (kept) expect([...new Set(kept.bytes)]).toEqual([((name - 1) * 16) & 255]);
    }
    // Those of a full tier and of the chain that was put last.
    expect(places.size).toBeLessThanOrEqual(4 + 3);
  });

  it('takes back what found no room, and all when the tier is cleared', () => {
    const { host, put, held } = tierOf(4);
    put(1, 2);
    host.lease(chainOf(1, 2).keys, 1000);
    const leased = held(1, 0)?.bytes;
    expect(put(2, 5)).toBe(2);
    const places = new Set([0, 1].map((i) => held(2, i)?.bytes.byteOffset));
    expect([...new Set(leased)]).toEqual([16]);
    host.clear();
    expect(put(3, 4)).toBe(4);
    const again = [0, 1, 2, 3].map((i) => held(3, i)?.bytes.byteOffset);
    expect(new Set(again).size).toBe(4);
    expect(again.some((place) => places.has(place as number))).toBe(true);
  });

  it('takes its memory back when filling fails', () => {
    const { frames, put, held } = tierOf(4);
    put(1, 1);
    const place = held(1, 0)?.bytes.byteOffset as number;
    const fault = new Error('no state');
    expect(() =>
      frames.putChain(chainOf(2, 2), () => {
        throw fault;
      }),
    ).toThrow(fault);
    put(3, 2);
    expect(held(3, 0)?.bytes.byteOffset).toBe(place + (held(1, 0)?.frame?.length ?? 0));
  });
});
