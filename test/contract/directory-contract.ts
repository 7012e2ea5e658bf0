/** What every shared directory does, whatever it is made of. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type BlockLease, DirectoryFault, type Life, type SharedDirectory, type SharedMatch, type Tier } from '../../src/kv/index.ts';

export interface DirectorySetup {
  readonly blockTtlMs?: number;
  readonly maxInstances?: number;
}

export interface OpenDirectory {
  /** The same directory through two clients, where there are such. */
  readonly directory: SharedDirectory;
  readonly other: SharedDirectory;
  /** Resolves when the directory's clock has gone on by `ms`. */
  readonly pass: (ms: number) => Promise<void>;
}

/** Opens an empty directory; whoever made the bed ends it after each test. */
export type OpenEmpty = (setup?: DirectorySetup) => Promise<OpenDirectory>;

export const LONG_MS = 3_600_000;

/** Keys of a chain. */
export function chain(name: number, length: number): string[] {
  return Array.from({ length }, (_, index) => (BigInt(name) * 1_000_000n + BigInt(index)).toString(16).padStart(32, '0'));
}

export function life(instance: string, incarnation = '1'): Life {
  return { instance, incarnation };
}

/** A match without the time that its life has left. */
export function timeless(matches: readonly SharedMatch[]): Omit<SharedMatch, 'lifeMs'>[] {
  return matches
    .map(({ instance, incarnation, held, tiers, heldBytes }) => ({ instance, incarnation, held, tiers, heldBytes }))
    .sort((a, b) => (a.instance < b.instance ? -1 : 1));
}

function tiers(counts: Partial<Record<Tier, number>>): Record<Tier, number> {
  return { hbm: 0, host: 0, peer: 0, store: 0, ...counts };
}

export function sharedDirectoryContract(name: string, open: OpenEmpty): void {
  let directory: SharedDirectory;
  let other: SharedDirectory;
  let pass: OpenDirectory['pass'];
  const use = async (setup?: DirectorySetup) => {
    ({ directory, other, pass } = await open(setup));
  };
  const publish = (who: Life, seq: number, keys: readonly string[], at: { tier?: Tier; blockBytes?: number } = {}) =>
    directory.publish(who, { seq, keys, tier: at.tier ?? 'hbm', blockBytes: at.blockBytes ?? 100 });
  const withdraw = (who: Life, seq: number, keys: readonly string[], at: { tier?: Tier; force?: boolean } = {}) =>
    directory.withdraw(who, { seq, keys, tier: at.tier ?? 'hbm', force: at.force ?? false });
  const heldBy = async (keys: readonly string[]) =>
    Object.fromEntries((await other.lookup(keys)).map((match) => [match.instance, match.held]));
  const leased = async (who: Life, keys: readonly string[], ttlMs = LONG_MS): Promise<BlockLease> => {
    const result = await other.lease(who, keys, ttlMs);
    if (result.outcome !== 'leased') throw new Error(`lease: ${result.outcome}`);
    return result.lease;
  };

  describe(`${name}: what is held`, () => {
    beforeEach(() => use());

    it('counts leading blocks per tier and instance, and their bytes', async () => {
      const keys = chain(1, 6);
      await directory.join(life('a'), LONG_MS);
      await directory.join(life('b'), LONG_MS);
      expect(await publish(life('a'), 1, keys.slice(0, 3))).toBe('applied');
      expect(await publish(life('a'), 2, keys.slice(2, 5), { tier: 'host', blockBytes: 70 })).toBe('applied');
      expect(await publish(life('a'), 3, keys.slice(0, 1), { tier: 'store', blockBytes: 9 })).toBe('applied');
      expect(await publish(life('b'), 1, keys.slice(1))).toBe('applied');
      const whole = { instance: 'a', incarnation: '1', held: 5, tiers: tiers({ hbm: 3, store: 1 }), heldBytes: 3 * 100 + 2 * 70 };
      expect(timeless(await other.lookup(keys))).toEqual([whole]);
      const short = { ...whole, held: 2, tiers: tiers({ hbm: 2, store: 1 }), heldBytes: 200 };
      expect(timeless(await other.lookup(keys.slice(0, 2)))).toEqual([short]);
      expect(await heldBy(keys.slice(1))).toEqual({ a: 4, b: 5 });
      expect(await other.lookup(chain(2, 3))).toEqual([]);
    });

    it('forgets what is withdrawn from one tier and keeps the other', async () => {
      const keys = chain(1, 3);
      await directory.join(life('a'), LONG_MS);
      await publish(life('a'), 1, keys);
      await publish(life('a'), 2, keys, { tier: 'host' });
      expect(await withdraw(life('a'), 3, keys.slice(1))).toEqual({ outcome: 'applied', kept: [] });
      expect(timeless(await other.lookup(keys))).toMatchObject([{ held: 3, tiers: tiers({ hbm: 1, host: 3 }) }]);
      expect(await withdraw(life('a'), 4, keys, { tier: 'host' })).toEqual({ outcome: 'applied', kept: [] });
      expect(await heldBy(keys)).toEqual({ a: 1 });
      expect(await withdraw(life('a'), 5, chain(7, 2))).toEqual({ outcome: 'applied', kept: [] });
    });

    it('takes the newest size of a block that is published again', async () => {
      await directory.join(life('a'), LONG_MS);
      await publish(life('a'), 1, chain(1, 4), { blockBytes: 4_000_000_000 });
      await publish(life('a'), 2, chain(1, 1), { blockBytes: 1 });
      expect(await other.lookup(chain(1, 4))).toMatchObject([{ heldBytes: 12_000_000_001 }]);
      expect(await other.stats()).toMatchObject([{ blocks: tiers({ hbm: 4 }), bytes: 12_000_000_001 }]);
    });

    it('takes as many keys at once as it says', async () => {
      const keys = chain(1, 4096);
      await directory.join(life('a'), LONG_MS);
      await publish(life('a'), 1, keys);
      expect(await heldBy(keys)).toEqual({ a: 4096 });
      const lease = await leased(life('a'), keys);
      expect(lease.keys).toHaveLength(4096);
      expect((await withdraw(life('a'), 2, keys)).kept).toHaveLength(4096);
      expect(await other.renewLease(lease, LONG_MS)).toBe('renewed');
      expect(await other.release(lease)).toBe('released');
      expect(await withdraw(life('a'), 3, keys)).toEqual({ outcome: 'applied', kept: [] });
      expect(await heldBy(keys)).toEqual({});
      await expect(other.lookup(chain(1, 4097))).rejects.toThrow('keys: expected 1 to 4096 of them, got 4097');
    });
  });

  describe(`${name}: lives`, () => {
    beforeEach(() => use());

    it('counts changes in order, each once', async () => {
      await directory.join(life('a'), LONG_MS);
      expect(await publish(life('a'), 2, chain(1, 2))).toBe('gap');
      expect(await publish(life('a'), 1, chain(1, 2))).toBe('applied');
      expect(await publish(life('a'), 1, chain(2, 2))).toBe('stale');
      expect(await heldBy(chain(2, 2))).toEqual({});
      expect(await withdraw(life('a'), 1, chain(1, 2))).toEqual({ outcome: 'stale', kept: chain(1, 2) });
      expect(await withdraw(life('a'), 3, chain(1, 2))).toEqual({ outcome: 'gap', kept: [] });
      expect(await heldBy(chain(1, 2))).toEqual({ a: 2 });
    });

    it('knows nothing of who did not join', async () => {
      expect(await publish(life('a'), 1, chain(1, 1))).toBe('unknown');
      expect(await withdraw(life('a'), 1, chain(1, 1))).toEqual({ outcome: 'unknown', kept: [] });
      expect(await directory.renew(life('a'), LONG_MS)).toBe('unknown');
      expect(await directory.lease(life('a'), chain(1, 1), LONG_MS)).toEqual({ outcome: 'unknown' });
      expect(await directory.stats()).toEqual([]);
      await directory.join(life('a'), LONG_MS);
      expect(await directory.renew(life('a', '2'), LONG_MS), 'another incarnation').toBe('unknown');
      expect(await publish(life('a', '2'), 1, chain(1, 1))).toBe('unknown');
    });

    it('forgets an earlier incarnation when a later one joins, for good', async () => {
      await directory.join(life('a', 'old'), LONG_MS);
      await publish(life('a', 'old'), 1, chain(1, 3));
      expect(await other.join(life('a', 'new'), LONG_MS)).toBe('joined');
      expect(await heldBy(chain(1, 3))).toEqual({});
      expect(await publish(life('a', 'old'), 2, chain(1, 3))).toBe('fenced');
      expect(await directory.renew(life('a', 'old'), LONG_MS)).toBe('fenced');
      expect(await directory.join(life('a', 'old'), LONG_MS)).toBe('fenced');
      expect(await publish(life('a', 'new'), 1, chain(1, 2))).toBe('applied');
      expect(await other.lookup(chain(1, 3))).toMatchObject([{ incarnation: 'new', held: 2 }]);
    });

    it('starts anew when the same incarnation joins again', async () => {
      await directory.join(life('a'), LONG_MS);
      await publish(life('a'), 1, chain(1, 3));
      expect(await directory.join(life('a'), LONG_MS)).toBe('joined');
      expect(await heldBy(chain(1, 3))).toEqual({});
      expect(await directory.stats()).toMatchObject([{ blocks: tiers({}), bytes: 0 }]);
      expect(await publish(life('a'), 1, chain(1, 2))).toBe('applied');
      expect(await heldBy(chain(1, 3))).toEqual({ a: 2 });
    });

    it('ends a life whose time is over, and lets it join again', async () => {
      await directory.join(life('a'), 60_000);
      await directory.join(life('b'), LONG_MS);
      await publish(life('a'), 1, chain(1, 2));
      await publish(life('b'), 1, chain(1, 2));
      expect((await other.lookup(chain(1, 2))).find(({ instance }) => instance === 'a')?.lifeMs).toBeLessThanOrEqual(60_000);
      expect(await directory.renew(life('a'), 20)).toBe('renewed');
      await pass(25);
      expect(await heldBy(chain(1, 2))).toEqual({ b: 2 });
      expect((await directory.stats()).map(({ instance }) => instance)).toEqual(['b']);
      expect(await directory.renew(life('a'), LONG_MS)).toBe('unknown');
      expect(await publish(life('a'), 2, chain(1, 2))).toBe('unknown');
      expect(await directory.join(life('a'), LONG_MS)).toBe('joined');
      expect(await heldBy(chain(1, 2))).toEqual({ b: 2 });
    });

    it('fences for good, also who never joined', async () => {
      await directory.join(life('a'), LONG_MS);
      await publish(life('a'), 1, chain(1, 2));
      expect(await other.fence(life('a'))).toBe('fenced');
      expect(await heldBy(chain(1, 2))).toEqual({});
      expect(await other.fence(life('a'))).toBe('absent');
      expect(await directory.join(life('a'), LONG_MS)).toBe('fenced');
      expect(await publish(life('a'), 2, chain(1, 2))).toBe('fenced');
      expect(await other.fence(life('a', '2'))).toBe('absent');
      expect(await directory.join(life('a', '2'), LONG_MS)).toBe('fenced');
      expect(await directory.join(life('a', '3'), LONG_MS)).toBe('joined');
      expect(await other.fence(life('a', '2'))).toBe('absent');
      expect(await directory.renew(life('a', '3'), LONG_MS)).toBe('renewed');
    });
  });

  describe(`${name}: leases`, () => {
    beforeEach(async () => {
      await use();
      await directory.join(life('a'), LONG_MS);
      await publish(life('a'), 1, chain(1, 4));
    });

    it('covers the leading blocks that are held', async () => {
      expect((await leased(life('a'), chain(1, 6))).keys).toEqual(chain(1, 4));
      expect(await other.lease(life('a'), chain(2, 2), LONG_MS)).toEqual({ outcome: 'missing' });
    });

    it('keeps a block in the last tier that it is in, unless by force', async () => {
      const lease = await leased(life('a'), chain(1, 2));
      expect(await withdraw(life('a'), 2, chain(1, 4))).toEqual({ outcome: 'applied', kept: chain(1, 2) });
      expect(await heldBy(chain(1, 4))).toEqual({ a: 2 });
      await publish(life('a'), 3, chain(1, 1), { tier: 'host' });
      expect(await withdraw(life('a'), 4, chain(1, 2))).toEqual({ outcome: 'applied', kept: chain(1, 2).slice(1) });
      expect(await withdraw(life('a'), 5, chain(1, 2).slice(1), { force: true })).toEqual({ outcome: 'applied', kept: [] });
      expect(timeless(await other.lookup(chain(1, 2)))).toMatchObject([{ held: 1, tiers: tiers({ host: 1 }) }]);
      expect(await other.renewLease(lease, LONG_MS)).toBe('renewed');
      await publish(life('a'), 6, chain(1, 2));
      expect(await withdraw(life('a'), 7, chain(1, 2).slice(1)), 'a lease does not come back').toEqual({ outcome: 'applied', kept: [] });
    });

    it('ends by release, once, and leaves other leases', async () => {
      const [first, second] = [await leased(life('a'), chain(1, 2)), await leased(life('a'), chain(1, 1))];
      expect(await other.release(first)).toBe('released');
      expect(await other.release(first)).toBe('over');
      expect(await other.renewLease(first, LONG_MS)).toBe('over');
      expect((await withdraw(life('a'), 2, chain(1, 4))).kept).toEqual(chain(1, 1));
      expect(await directory.release(second)).toBe('released');
      expect((await withdraw(life('a'), 3, chain(1, 1))).kept).toEqual([]);
    });

    it('ends by time unless renewed', async () => {
      const brief = await leased(life('a'), chain(1, 3), 10);
      await pass(15);
      expect(await other.renewLease(brief, LONG_MS)).toBe('over');
      const [short, renewed] = [await leased(life('a'), chain(1, 1), 60_000), await leased(life('a'), chain(1, 2), 60_000)];
      expect(await other.renewLease(renewed, LONG_MS)).toBe('renewed');
      expect(await other.renewLease(short, 10)).toBe('renewed');
      await pass(15);
      expect(await other.renewLease(short, LONG_MS)).toBe('over');
      expect(await other.release(short)).toBe('over');
      expect((await withdraw(life('a'), 2, chain(1, 4))).kept).toEqual(chain(1, 2));
      expect(await other.renewLease(renewed, 10)).toBe('renewed');
      await pass(15);
      expect((await withdraw(life('a'), 3, chain(1, 2))).kept).toEqual([]);
    });

    it('ends by its own time while another one lasts', async () => {
      await leased(life('a'), chain(1, 1));
      const brief = await leased(life('a'), chain(1, 3), 10);
      await pass(15);
      expect((await withdraw(life('a'), 2, chain(1, 4))).kept).toEqual(chain(1, 1));
      expect(await other.renewLease(brief, LONG_MS)).toBe('over');
    });

    it('lasts while the incarnation starts anew, and ends with it', async () => {
      const lease = await leased(life('a'), chain(1, 2));
      await directory.join(life('a'), LONG_MS);
      await publish(life('a'), 1, chain(1, 4));
      expect((await withdraw(life('a'), 2, chain(1, 4))).kept).toEqual(chain(1, 2));
      expect(await other.renewLease(lease, LONG_MS)).toBe('renewed');
      await other.fence(life('a'));
      expect(await other.renewLease(lease, LONG_MS)).toBe('over');
      expect(await other.release(lease)).toBe('over');
    });

    it('takes no more than so many over one block', async () => {
      const leases: BlockLease[] = [];
      for (let count = 0; count < 64; count += 1) leases.push(await leased(life('a'), chain(1, 2)));
      expect(await other.lease(life('a'), chain(1, 1), LONG_MS)).toEqual({ outcome: 'refused' });
      await other.release(leases[5] as BlockLease);
      expect(await other.lease(life('a'), chain(1, 1), LONG_MS)).toMatchObject({ outcome: 'leased' });
    });
  });

  describe(`${name}: bounds`, () => {
    it('takes as many instances as it may; one that is over makes room', async () => {
      await use({ maxInstances: 2 });
      await directory.join(life('a'), LONG_MS);
      await directory.join(life('b'), LONG_MS);
      expect(await directory.join(life('c'), LONG_MS)).toBe('refused');
      expect(await directory.join(life('b', '2'), LONG_MS)).toBe('joined');
      await directory.renew(life('a'), 10);
      await pass(15);
      expect(await directory.join(life('c'), LONG_MS)).toBe('joined');
    });

    it('forgets blocks that are not published again', async () => {
      await use({ blockTtlMs: 1_000 });
      await directory.join(life('a'), LONG_MS);
      await publish(life('a'), 1, chain(1, 2));
      expect(await heldBy(chain(1, 2))).toEqual({ a: 2 });
      await pass(1_010);
      expect(await heldBy(chain(1, 2))).toEqual({});
      await publish(life('a'), 2, chain(1, 2));
      expect(await heldBy(chain(1, 2))).toEqual({ a: 2 });
    });

    it.each<[string, (directory: SharedDirectory) => Promise<unknown>, string]>([
      ['instance', (to) => to.join(life('a b'), 1), 'instance: expected 1 to 200 letters, digits or ._:@-, got "a b"'],
      ['incarnation', (to) => to.renew(life('a', ''), 1), 'incarnation: expected 1 to 200 letters'],
      ['ttlMs', (to) => to.join(life('a'), 0), 'ttlMs: expected an integer from 1 to 3600000, got 0'],
      ['ttlMs', (to) => to.renew(life('a'), Number.NaN), 'ttlMs: expected an integer from 1 to 3600000, got NaN'],
      ['keys', (to) => to.lookup([]), 'keys: expected 1 to 4096 of them, got 0'],
      ['key', (to) => to.lookup([chain(1, 1)[0] ?? '', 'X']), 'keys[1]: expected 32 lower-case hex digits, got "X"'],
      [
        'twice',
        (to) => to.publish(life('a'), { seq: 1, tier: 'hbm', keys: [...chain(1, 1), ...chain(1, 1)], blockBytes: 1 }),
        'none of them twice',
      ],
      [
        'blockBytes',
        (to) => to.publish(life('a'), { seq: 1, tier: 'hbm', keys: chain(1, 1), blockBytes: 2 ** 32 }),
        'blockBytes: expected',
      ],
      ['seq', (to) => to.withdraw(life('a'), { seq: 0, tier: 'hbm', keys: chain(1, 1) }), 'seq: expected an integer from 1'],
      ['lease', (to) => to.release({ ...life('a'), id: 'x', keys: chain(1, 1) }), 'lease.id: expected 16 lower-case hex digits, got "x"'],
    ])('names a wrong %s', async (_field, call, message) => {
      await use();
      await expect(call(directory)).rejects.toThrow(message);
      await expect(call(directory)).rejects.toBeInstanceOf(RangeError);
    });

    it('is of no use once closed', async () => {
      await use();
      await directory.close();
      await expect(directory.lookup(chain(1, 1))).rejects.toMatchObject({ code: 'unavailable' });
      await expect(directory.stats()).rejects.toBeInstanceOf(DirectoryFault);
    });
  });

  afterEach(async () => {
    await directory.close();
    await other.close();
  });
}
