/** What every block store keeps to, whatever it keeps its values in. */
import { describe, expect, it } from 'vitest';
import { type BlockStore, blockKeys, type KvBlock, keyHexes, kvBlock, type StoreChange } from '../../src/kv/index.ts';

export const BLOCK_TOKENS = 16;
export const BLOCK_BYTES = 32 << 10;
/** KV bytes of a group: 4 blocks. */
const GROUP_BYTES = 4 * BLOCK_BYTES;
const MIB = 1 << 20;
const SEED = Uint32Array.of(1, 2, 3, 4);

export interface StoreSetup {
  readonly capacityBytes?: number;
  readonly tenantShare?: number;
  readonly maxPendingBytes?: number;
}

export interface OpenStore {
  readonly store: BlockStore;
  /** Another process's view of the same place. */
  readonly other: BlockStore;
  /** Rewrites every value in place, behind the store's back; how many. */
  readonly damage: (change: (value: Buffer) => Buffer) => Promise<number>;
  /** Until what one wrote is seen by the other for sure. */
  readonly seen: () => Promise<void>;
}

export interface Chain {
  readonly blocks: readonly KvBlock[];
  readonly keys: readonly string[];
  readonly tokens: Int32Array;
}

/** A chain of its own for every `seed`. */
export function chainOf(seed: number, count: number): Chain {
  const tokens = Int32Array.from({ length: count * BLOCK_TOKENS }, (_, at) => (seed * 7919 + at * 31) % 50_000);
  const keys = keyHexes(blockKeys(SEED, tokens, BLOCK_TOKENS));
  const blocks = keys.map((key, index) => {
    const bytes = new Uint8Array(BLOCK_BYTES);
    for (let at = 0; at < BLOCK_BYTES; at += 64) bytes[at] = (seed * 13 + index * 5 + at) & 255;
    return kvBlock(key, keys[index - 1] ?? null, tokens.slice(index * BLOCK_TOKENS, (index + 1) * BLOCK_TOKENS), bytes);
  });
  return { blocks, keys, tokens };
}

export function wanted(chain: Chain, change: Partial<Parameters<BlockStore['read']>[0]> = {}): Parameters<BlockStore['read']>[0] {
  return { keys: chain.keys, tokens: chain.tokens, blockTokens: BLOCK_TOKENS, bytesPerBlock: BLOCK_BYTES, deadlineMs: 10_000, ...change };
}

export const SETUP = { groupBytes: GROUP_BYTES, capacityBytes: 16 * MIB } as const;

export function storeContract(name: string, open: (setup?: StoreSetup) => Promise<OpenStore>): void {
  describe(`${name} as a block store`, () => {
    it('gives back what was written, bit for bit, in few copies', async () => {
      const { store } = await open();
      const chain = chainOf(1, 10);
      expect(await store.write(chain.blocks)).toMatchObject({ written: 10, known: 0, dropped: 0, copies: 3 });
      expect(await store.match(chain.keys)).toBe(10);
      const read = await store.read(wanted(chain));
      expect(read).toMatchObject({ failed: null, bytes: 10 * BLOCK_BYTES, copies: 3 });
      expect(read.blocks.map(({ key, parent, crc }) => ({ key, parent, crc }))).toEqual(
        chain.blocks.map(({ key, parent, crc }) => ({ key, parent, crc })),
      );
      for (const [index, block] of read.blocks.entries()) {
        expect(Buffer.compare(block.bytes, chain.blocks[index]?.bytes as Uint8Array)).toBe(0);
        expect([...block.tokens]).toEqual([...(chain.blocks[index]?.tokens ?? [])]);
      }
      expect(store.condition().reason).toBe('Ready');
    });

    it('moves nothing for what it has, and only the new end of a chain that grew', async () => {
      const { store } = await open();
      const chain = chainOf(2, 12);
      await store.write(chain.blocks.slice(0, 8));
      expect(await store.write(chain.blocks.slice(0, 8))).toMatchObject({ written: 0, known: 8, bytes: 0, copies: 0 });
      expect(await store.write(chain.blocks)).toMatchObject({ written: 4, known: 8, copies: 1 });
      expect((await store.read(wanted(chain))).blocks).toHaveLength(12);
    });

    it('does not write known blocks again because groups would be cut elsewhere now', async () => {
      const { store } = await open();
      const chain = chainOf(12, 12);
      await store.write(chain.blocks.slice(0, 5));
      expect(await store.write(chain.blocks)).toMatchObject({ written: 7, known: 5, copies: 2 });
      expect((await store.read(wanted(chain))).blocks).toHaveLength(12);
    });

    it('takes blocks in the order in which they are evicted, from the end on', async () => {
      const { store } = await open();
      const chain = chainOf(3, 8);
      expect(await store.write(chain.blocks.toReversed())).toMatchObject({ written: 8, copies: 2 });
      expect((await store.read(wanted(chain))).blocks).toHaveLength(8);
    });

    it('has its copy when write returns: the memory is used again at once', async () => {
      const { store } = await open();
      const chain = chainOf(4, 4);
      const before = chain.blocks.map(({ bytes }) => Buffer.from(bytes));
      const written = store.write(chain.blocks);
      for (const { bytes } of chain.blocks) bytes.fill(0xee);
      await written;
      const read = await store.read(wanted(chain));
      expect(read.blocks.map(({ bytes }) => Buffer.compare(bytes, before.shift() as Buffer))).toEqual([0, 0, 0, 0]);
    });

    it('ends a match at the first hole', async () => {
      const { store } = await open();
      const chain = chainOf(5, 12);
      await store.write(chain.blocks.slice(0, 4));
      await store.write(chain.blocks.slice(8));
      expect(await store.match(chain.keys)).toBe(4);
      expect((await store.read(wanted(chain))).blocks).toHaveLength(4);
      expect(await store.match(chainOf(6, 3).keys)).toBe(0);
    });

    it('gives nothing for other tokens, another shape, or half of what is asked', async () => {
      const { store } = await open();
      const chain = chainOf(7, 6);
      await store.write(chain.blocks);
      const tokens = chain.tokens.slice();
      tokens[BLOCK_TOKENS + 3] = -1;
      expect((await store.read(wanted(chain, { tokens }))).blocks).toHaveLength(1);
      expect((await store.read(wanted(chain, { bytesPerBlock: BLOCK_BYTES / 2 }))).blocks).toHaveLength(0);
      const keys = chain.keys.slice(2, 5);
      const part = await store.read(wanted(chain, { keys, tokens: chain.tokens.subarray(2 * BLOCK_TOKENS, 5 * BLOCK_TOKENS) }));
      expect(part.blocks.map(({ key }) => key)).toEqual(keys);
    });

    it('is one store for all that use the place', async () => {
      const { store, other, seen } = await open();
      const chain = chainOf(8, 6);
      await store.write(chain.blocks);
      await seen();
      // It has not heard of them, and finds them when it is about to write.
      expect(await other.write(chain.blocks)).toMatchObject({ written: 0, known: 6 });
      expect(await other.match(chain.keys)).toBe(6);
      expect((await other.read(wanted(chain))).blocks).toHaveLength(6);
    });

    const DAMAGE: Readonly<Record<string, (value: Buffer) => Buffer>> = {
      'a flipped bit of KV': (value) => flip(value, value.length - 100),
      'a flipped bit of a token': (value) => flip(value, 64 + 4 * 24 + 5),
      'a flipped bit of its head': (value) => flip(value, 20),
      'a short value': (value) => value.subarray(0, value.length - 1),
      'an empty value': () => Buffer.alloc(0),
      'one value twice': (value) => Buffer.concat([value, value]),
    };
    it.each(Object.keys(DAMAGE))('finds %s, removes it and says so', async (what) => {
      const { store, damage } = await open();
      const chain = chainOf(9, 8);
      await store.write(chain.blocks);
      const changes: StoreChange[] = [];
      store.onChange((change) => changes.push(change));
      expect(await damage(DAMAGE[what] as (value: Buffer) => Buffer)).toBe(2);
      const read = await store.read(wanted(chain));
      expect(read.blocks).toEqual([]);
      expect(read.failed).toMatch(/damaged|gone/);
      expect(store.counters().corrupt).toBe(1);
      expect(changes).toEqual([{ removed: chain.keys.slice(0, 4), stored: [] }]);
      expect(await store.match(chain.keys)).toBe(0);
      // It is written again when it is offered again.
      expect(await store.write(chain.blocks)).toMatchObject({ written: 4, known: 4 });
    });

    it('verifies all and removes what is damaged', async () => {
      const { store, damage } = await open();
      await store.write(chainOf(10, 8).blocks);
      expect(await store.verify(100)).toMatchObject({ groups: 2, blocks: 8, bytes: 8 * BLOCK_BYTES, bad: [], partial: false });
      expect(await store.verify(1)).toMatchObject({ groups: 1, partial: true });
      await damage((value) => flip(value, value.length - 1));
      const verdict = await store.verify(100);
      expect(verdict.bad).toHaveLength(2);
      expect((await store.usage()).groups).toBe(0);
    });

    it('verifies without calling damaged what another version reads, or nobody gives', async () => {
      const { store, damage } = await open();
      await store.write(chainOf(13, 8).blocks);
      await damage((value) => {
        value.writeUInt16LE(9, 4);
        return value;
      });
      expect(await store.verify(100)).toMatchObject({ groups: 0, bad: [], partial: false });
      await store.close();
      expect(await store.verify(100)).toMatchObject({ groups: 0, bad: [], partial: true });
    });

    it('leaves values of another version alone, and says what to do', async () => {
      const { store, damage } = await open();
      const chain = chainOf(11, 4);
      await store.write(chain.blocks);
      await damage((value) => {
        value.writeUInt16LE(9, 4);
        return value;
      });
      expect((await store.read(wanted(chain))).blocks).toEqual([]);
      expect(store.condition()).toMatchObject({ reason: 'Incompatible' });
      expect(store.condition().message).toMatch(/version 9, expected 1.*left alone.*another place/);
      let kept = 0;
      await damage((value) => {
        kept += 1;
        return value;
      });
      expect(kept).toBe(1);
    });

    it('stays within its bytes: the longest unused goes first, the end of a chain before its start', async () => {
      const { store } = await open({ capacityBytes: 2 * MIB });
      const chains = [chainOf(20, 24), chainOf(21, 24), chainOf(22, 24)] as const;
      for (const chain of chains.slice(0, 2)) await store.write(chain.blocks);
      expect(await store.match(chains[0].keys)).toBe(24);
      await store.read(wanted(chains[0]));
      await store.write(chains[2].blocks);
      const { usedBytes, capacityBytes } = await store.usage();
      expect(usedBytes).toBeLessThanOrEqual(capacityBytes);
      expect(usedBytes).toBeGreaterThan(capacityBytes * 0.8);
      expect(await store.match(chains[2].keys)).toBe(24);
      expect(await store.match(chains[0].keys)).toBe(24);
      const left = await store.match(chains[1].keys);
      expect(left).toBeLessThan(24);
      expect(left).toBeGreaterThan(0);
      expect(store.counters().evictedBlocks).toBeGreaterThan(0);
    });

    it('gives up pinned blocks last', async () => {
      const { store } = await open({ capacityBytes: 2 * MIB });
      const pinned = chainOf(30, 16);
      await store.write(pinned.blocks, { pinned: true });
      for (let seed = 31; seed < 38; seed++) await store.write(chainOf(seed, 16).blocks);
      expect(await store.match(pinned.keys)).toBe(16);
      expect((await store.usage()).pinnedBytes).toBeGreaterThan(16 * BLOCK_BYTES);
      expect(await store.pin(pinned.keys, false)).toBe(4);
      expect((await store.usage()).pinnedBytes).toBe(0);
      for (let seed = 40; seed < 45; seed++) await store.write(chainOf(seed, 16).blocks);
      expect(await store.match(pinned.keys)).toBe(0);
    });

    it('gives a tenant its share and no more', async () => {
      const { store } = await open({ capacityBytes: 4 * MIB, tenantShare: 0.25 });
      const others = chainOf(50, 16);
      await store.write(others.blocks, { tenant: 'quiet' });
      for (let seed = 51; seed < 61; seed++) await store.write(chainOf(seed, 16).blocks, { tenant: 'greedy' });
      expect(await store.match(others.keys)).toBe(16);
      expect((await store.usage()).usedBytes).toBeLessThanOrEqual(2 * MIB);
      expect(await store.match(chainOf(60, 16).keys)).toBe(16);
      expect(await store.match(chainOf(51, 16).keys)).toBe(0);
    });

    it('drops what it cannot write as fast as it comes, and is ready again afterwards', async () => {
      const { store } = await open({ maxPendingBytes: MIB });
      const all = await Promise.all([70, 71, 72, 73].map((seed) => store.write(chainOf(seed, 16).blocks)));
      expect(all.reduce((sum, { dropped }) => sum + dropped, 0)).toBe(32);
      await store.settled();
      expect(store.counters().droppedBlocks).toBe(32);
      expect(store.condition().reason).toBe('Ready');
    });

    it('ends a read by its deadline and when it is cancelled, with what it has', async () => {
      const { store } = await open();
      const chain = chainOf(80, 8);
      await store.write(chain.blocks);
      const cancelled = new AbortController();
      cancelled.abort();
      expect(await store.read(wanted(chain, { signal: cancelled.signal }))).toMatchObject({ blocks: [], failed: 'cancelled' });
      const late = await store.read(wanted(chain, { deadlineMs: 0 }));
      expect(late.blocks.length === 8 || late.failed !== null).toBe(true);
    });

    it('lets the event loop turn between values', async () => {
      const { store } = await open();
      let turns = 0;
      const turn = () => {
        turns += 1;
        timer = setImmediate(turn);
      };
      let timer = setImmediate(turn);
      await store.write(chainOf(90, 64).blocks);
      clearImmediate(timer);
      expect(turns).toBeGreaterThan(16);
    });

    it('is known by one name to all that opened it, which no other has', async () => {
      const [{ store, other }, elsewhere] = [await open(), await open()];
      expect(store.id).toBe(other.id);
      expect(store.id).toContain(store.kind);
      expect(elsewhere.store.id).not.toBe(store.id);
    });

    it('tells of the first block that it does not find, whoever may have told that it is there', async () => {
      const { store } = await open();
      const chain = chainOf(92, 8);
      await store.write(chain.blocks.slice(0, 4));
      const changes: StoreChange[] = [];
      store.onChange((change) => changes.push(change));
      expect(await store.match(chain.keys)).toBe(4);
      expect(changes).toEqual([{ removed: chain.keys.slice(4, 5), stored: [] }]);
    });

    it('tells what came and went, each key once', async () => {
      const { store } = await open();
      const changes: StoreChange[] = [];
      const stop = store.onChange((change) => changes.push(change));
      const chain = chainOf(91, 4);
      await store.write(chain.blocks);
      await store.match(chain.keys);
      await store.write(chain.blocks);
      expect(changes).toEqual([{ removed: [], stored: chain.keys }]);
      expect(store.keys(10).toSorted()).toEqual([...chain.keys].toSorted());
      stop();
    });
  });
}

function flip(value: Buffer, at: number): Buffer {
  const changed = Buffer.from(value);
  changed[at] = (changed[at] as number) ^ 1;
  return changed;
}
