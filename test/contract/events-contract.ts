/** What every event bus does, whatever it is made of. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { EventBus, TellerLimits, Telling } from '../../src/kv/index.ts';
import { until } from '../servers/server.ts';
import { life } from './directory-contract.ts';
import { blocks, Index, ToldEngine } from './events-engine.ts';

export interface BusSetup {
  readonly limits?: Partial<TellerLimits>;
}

/** The same bus through two clients, where there are such. */
export type OpenBus = (setup?: BusSetup) => Promise<{ readonly bus: EventBus; readonly other: EventBus }>;

const soon = (what: string, holds: () => boolean) => until(what, async () => holds());

export function eventBusContract(name: string, open: OpenBus): void {
  let bus: EventBus;
  let other: EventBus;
  const ends: (() => void | Promise<void>)[] = [];
  const use = async (setup?: BusSetup) => {
    ({ bus, other } = await open(setup));
  };
  const tell = (engine: ToldEngine): Telling => {
    const telling = bus.log.tell(engine.life, engine);
    ends.push(() => telling.stop());
    return telling;
  };
  const follow = (index: Index, on = other) => {
    const following = on.log.follow(index);
    ends.push(() => following.stop());
    return following;
  };
  afterEach(async () => {
    for (const end of ends.splice(0)) await end();
    await Promise.all([bus?.close(), other?.close()]);
  });

  describe(`${name}: the log`, () => {
    beforeEach(() => use());

    it('tells a follower what is held, and then what changes, in order', async () => {
      const engine = new ToldEngine(life('a'));
      const keys = blocks(1, 10);
      engine.store(keys.slice(0, 4));
      tell(engine);
      const index = new Index();
      const following = follow(index);
      await soon('the snapshot', () => following.isTold(life('a')));
      expect(index.held(keys)).toEqual({ a: 4 });
      engine.store(keys.slice(4, 8));
      engine.store(keys.slice(2, 10), 'host');
      engine.remove(keys.slice(0, 1));
      await soon('the events', () => index.held(keys.slice(1))['a'] === 9);
      expect(index.holds('a', keys)).toEqual([false, ...Array(9).fill(true)]);
      engine.clear();
      await soon('cleared', () => !index.holds('a', keys).includes(true));
      expect(index.outcomes).not.toContain('gap');
      expect(following.isTold(life('a'))).toBe(true);
      expect(following.isTold(life('a', '2'))).toBe(false);
      expect(following.stats).toMatchObject({ gaps: 0, unreadable: 0 });
    });

    it('lets two followers agree, the one that came later too', async () => {
      const engines = ['a', 'b', 'c'].map((instance) => new ToldEngine(life(instance)));
      for (const engine of engines) tell(engine);
      const early = new Index();
      const first = follow(early);
      await soon('all told', () => engines.every((engine) => first.isTold(engine.life)));
      const keys = blocks(2, 300);
      for (const [turn, engine] of engines.entries())
        for (let block = turn; block < 300; block += 1) engine.store(keys.slice(block, block + 1));
      const late = new Index();
      const second = follow(late, bus);
      await soon('the later one told', () => engines.every((engine) => second.isTold(engine.life)));
      for (const engine of engines) engine.remove(keys.slice(200));
      const expected = engines.map(({ held }) => keys.map((key) => held.get('hbm')?.has(key) ?? false));
      const view = (index: Index) => engines.map(({ life: { instance } }) => index.holds(instance, keys));
      await soon('the same', () => JSON.stringify([view(early), view(late)]) === JSON.stringify([expected, expected]));
    });

    it('knows an instance that was restarted by its new life, and forgets the old one at once', async () => {
      const keys = blocks(3, 5);
      const old = new ToldEngine(life('a', '1'));
      old.store(keys);
      const telling = tell(old);
      const index = new Index();
      const following = follow(index);
      await soon('the old life', () => following.isTold(life('a', '1')));
      telling.stop();
      const next = new ToldEngine(life('a', '2'));
      next.store(blocks(4, 2));
      tell(next);
      await soon('the new life', () => following.isTold(life('a', '2')));
      expect(index.held(keys)).toEqual({});
      expect(index.held(blocks(4, 2))).toEqual({ a: 2 });
      // A word of the old life that comes late.
      old.store(blocks(5, 1));
      tell(old);
      await soon('the late word', () => index.outcomes.includes('stale'));
      expect(index.held(blocks(5, 1))).toEqual({});
    });

    it('takes no harm from events that come twice', async () => {
      const engine = new ToldEngine(life('a'));
      tell(engine);
      tell(engine);
      const index = new Index();
      const following = follow(index);
      await soon('told', () => following.isTold(life('a')));
      const keys = blocks(6, 200);
      for (const key of keys) engine.store([key]);
      engine.remove(keys.slice(150));
      await soon('all of it', () => index.held(keys)['a'] === 150);
      await soon('the second time', () => index.outcomes.includes('stale'));
      expect(index.holds('a', keys.slice(150))).not.toContain(true);
    });

    it('tells all anew when the listener lost it, or asks for it', async () => {
      const engine = new ToldEngine(life('a'));
      engine.store(blocks(7, 3));
      tell(engine);
      const index = new Index();
      const following = follow(index);
      await soon('told', () => following.isTold(life('a')));
      index.directory.fence('a');
      following.want('a');
      expect(following.isTold(life('a'))).toBe(false);
      await soon('told again', () => following.isTold(life('a')));
      expect(index.held(blocks(7, 3))).toEqual({ a: 3 });
      index.directory.fence('a');
      engine.store(blocks(8, 1));
      await soon('the hole was seen and mended', () => index.held(blocks(7, 3))['a'] === 3);
      expect(following.stats.gaps).toBe(1);
      expect(following.isTold(life('a'))).toBe(true);
    });

    it('tells what is larger than one message', async () => {
      const engine = new ToldEngine(life('a'));
      const keys = blocks(9, 50_000);
      engine.store(keys);
      tell(engine);
      const index = new Index();
      const following = follow(index);
      await soon('told', () => following.isTold(life('a')));
      expect(index.held(keys)).toEqual({ a: 50_000 });
      const more = blocks(10, 40_000);
      engine.store(more);
      await soon('an event of too many keys', () => index.held(more)['a'] === 40_000);
    });

    it('does not count on what is not heard of any more', async () => {
      const engine = new ToldEngine(life('a'));
      const telling = tell(engine);
      engine.running = 3;
      const index = new Index();
      const following = follow(index);
      await soon('told', () => following.isTold(life('a')));
      await soon('load', () => index.loads.length > 1);
      expect(index.loads.at(-1)).toEqual({ instance: 'a', incarnation: '1', load: { running: 3 } });
      telling.stop();
      await soon('silence', () => !following.isTold(life('a')));
    });

    it('names what is no name', () => {
      const engine = new ToldEngine({ instance: 'a b', incarnation: '1' });
      expect(() => bus.log.tell(engine.life, engine)).toThrow('instance: expected 1 to 200 letters, digits or ._:@-, got "a b"');
    });

    it('takes names with dots', async () => {
      const engine = new ToldEngine(life('pod-0.x_y:8@z'));
      engine.store(blocks(1, 1));
      tell(engine);
      const index = new Index();
      const following = follow(index);
      await soon('told', () => following.isTold(engine.life));
      expect(index.held(blocks(1, 1))).toEqual({ 'pod-0.x_y:8@z': 1 });
    });
  });

  describe(`${name}: the log, when too much is told`, () => {
    it('drops what it cannot tell in time, and tells all that is held in its place', async () => {
      await use({ limits: { maxQueuedKeys: 500, window: 1, snapshotMs: 20 } });
      const engine = new ToldEngine(life('a'));
      const telling = tell(engine);
      const index = new Index();
      const following = follow(index);
      await soon('told', () => following.isTold(life('a')));
      const keys = blocks(11, 20_000);
      for (let from = 0; from < keys.length; from += 20) engine.store(keys.slice(from, from + 20));
      expect(telling.stats.dropped).toBeGreaterThan(0);
      await soon('all of it', () => index.held(keys)['a'] === 20_000);
      expect(following.isTold(life('a'))).toBe(true);
    });
  });
}
