/** What every directory must know of stores, whatever it is made of. An adapter's test calls this with how to make one. */
import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../shared/index.ts';
import type { KvEventEnvelope } from '../events/event.ts';
import { type DirectorySetup, hexes, type MakeDirectory, numbers } from './directory.contract.ts';
import type { Directory } from './port.ts';

export function storedContract(name: string, make: MakeDirectory): void {
  const fresh = (setup: DirectorySetup = {}) => ({ directory: make(new FakeClock(), setup) });

  describe(`${name}: what is stored`, () => {
    const told = (type: 'stored' | 'removed', seq: number, keys: readonly string[], incarnation = 'a1'): KvEventEnvelope => ({
      incarnation,
      seq,
      event: { type, tier: 'store', keys },
    });
    const chain = Float64Array.from(numbers(1, 6));
    const reach = (directory: Directory, from = 0) => Object.fromEntries(directory.stored(chain.subarray(from)));

    it('counts blocks of each store from any block on, whoever of its instances told of them', () => {
      const { directory } = fresh();
      expect(reach(directory)).toEqual({});
      directory.joinStore('a', 'shared');
      directory.joinStore('b', 'shared');
      directory.joinStore('c', 'own');
      directory.apply('a', told('stored', 1, hexes(1, 6).slice(2, 4)));
      directory.apply('b', told('stored', 1, hexes(1, 6).slice(4)));
      directory.apply('c', { incarnation: 'a1', seq: 1, tiers: { hbm: hexes(1, 1), store: hexes(1, 3) } });
      expect([reach(directory), reach(directory, 2), reach(directory, 5)]).toEqual([{ own: 3 }, { shared: 4, own: 1 }, { shared: 1 }]);
      directory.apply('b', told('removed', 2, hexes(1, 6).slice(3, 4)));
      expect(reach(directory, 2)).toEqual({ shared: 1, own: 1 });
      expect(directory.stats()).toMatchObject({ blocks: 1, stored: 5 });
      expect(directory.lookup(numbers(1, 6))).toEqual([{ instance: 'c', hbm: 1, host: 0, held: 1, expected: 1 }]);
    });

    it('outlives who told of it, and counts nothing of an instance without a store', () => {
      const { directory } = fresh();
      directory.joinStore('a', 'kept');
      directory.apply('a', told('stored', 1, hexes(1, 6)));
      directory.fence('a');
      directory.joinStore('a', null);
      expect(reach(directory)).toEqual({ kept: 6 });
      directory.apply('a', told('removed', 1, hexes(1, 6), 'a2'));
      directory.apply('b', told('stored', 1, hexes(2, 6)));
      expect([reach(directory), directory.stored(Float64Array.from(numbers(2, 6))).size]).toEqual([{ kept: 6 }, 0]);
      directory.joinStore('b', 'kept');
      directory.apply('b', told('removed', 2, hexes(1, 1)));
      expect([reach(directory), reach(directory, 1)]).toEqual([{}, { kept: 5 }]);
    });

    it('knows no more stores than instances: one that nobody has gives way, its blocks with it', () => {
      const { directory } = fresh({ maxInstances: 2 });
      for (const name of ['a', 'b', 'c']) directory.joinStore(name, `of ${name}`);
      directory.apply('a', told('stored', 1, hexes(1, 6)));
      directory.apply('c', told('stored', 1, hexes(1, 6)));
      expect(reach(directory)).toEqual({ 'of a': 6 });
      directory.joinStore('a', null);
      directory.joinStore('c', 'of c');
      expect(reach(directory)).toEqual({});
      // Again and again: what was taken away is cleared and given out anew.
      for (let turn = 0; turn < 200; turn++) {
        directory.joinStore('c', `turn ${turn}`);
        directory.apply('c', told('stored', turn + 2, hexes(1, 3)));
        expect(reach(directory)).toEqual({ [`turn ${turn}`]: 3 });
      }
    });
  });
}
