/** What one engine holds is kept published in the shared directory, whatever happens to that meanwhile. */
import { afterEach, describe, expect, it } from 'vitest';
import { redisDirectory } from '../../src/kv/directory/redis/index.ts';
import { DirectoryWriter, memorySharedDirectory, type SharedDirectory, type WriterOptions } from '../../src/kv/index.ts';
import { systemClock } from '../../src/shared/index.ts';
import { findServer } from '../servers/programs.ts';
import { startRedis } from '../servers/redis.ts';
import { until } from '../servers/server.ts';
import { life } from './directory-contract.ts';
import { blocks, ToldEngine } from './events-engine.ts';

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

function write(directory: WriterOptions['directory'], engine: ToldEngine, options: Partial<WriterOptions> = {}): DirectoryWriter {
  const common = { clock: systemClock, random: Math.random, blockBytes: 100 };
  const writer = new DirectoryWriter({ ...common, directory, life: engine.life, source: engine, ...options });
  ends.push(() => writer.stop());
  return writer;
}

const held = async (directory: SharedDirectory, keys: readonly string[]) =>
  (await directory.lookup(keys)).map((match) => [match.instance, match.incarnation, match.held]);
const soon = (what: string, holds: () => Promise<boolean>) => until(what, () => holds().catch(() => false), 20_000);
const isHeld = async (directory: SharedDirectory, keys: readonly string[]) => (await held(directory, keys))[0]?.[2] === keys.length;

type Open = () => Promise<SharedDirectory>;

const memory: Open = async () => memorySharedDirectory({ clock: systemClock });
const redis: Open = async () => {
  const server = await startRedis({ socket: true });
  const directory = redisDirectory({ servers: { urls: [server.url] }, space: 'writer', budgetMs: 5_000 });
  ends.push(server.stop, () => directory.close());
  return directory;
};

for (const [name, open] of [
  ['memory', memory],
  ['Redis', redis],
] as const) {
  describe.skipIf(name === 'Redis' && findServer('redis-server') === null)(`${name}: a directory writer`, () => {
    it('publishes what is held, and then what changes', async () => {
      const directory = await open();
      const engine = new ToldEngine(life('a'));
      const keys = blocks(1, 10_000);
      engine.store(keys);
      const writer = write(directory, engine);
      await soon('all of it', () => isHeld(directory, keys.slice(0, 4_096)));
      await soon('the end of it', () => isHeld(directory, keys.slice(-4_000)));
      expect(writer.state).toEqual({ name: 'published' });
      engine.remove(keys.slice(100, 200));
      engine.store(blocks(2, 3), 'host');
      engine.store([...blocks(3, 2), ...blocks(3, 2)]);
      await soon('the newest', () => isHeld(directory, blocks(3, 2)));
      expect(await held(directory, keys.slice(0, 4_000))).toEqual([['a', '1', 100]]);
      expect((await directory.lookup(blocks(2, 3)))[0]?.tiers).toMatchObject({ hbm: 0, host: 3 });
      engine.clear();
      engine.store(blocks(4, 1));
      await soon('what came after', () => isHeld(directory, blocks(4, 1)));
      expect(await held(directory, keys.slice(0, 10))).toEqual([]);
    });

    it('ends its life when it is stopped, and what it held is gone', async () => {
      const directory = await open();
      const engine = new ToldEngine(life('a'));
      engine.store(blocks(1, 3));
      const writer = write(directory, engine);
      await soon('published', () => isHeld(directory, blocks(1, 3)));
      await writer.stop();
      expect(await directory.stats()).toEqual([]);
    });

    it('renews its life, and joins anew when that was lost', async () => {
      const directory = await open();
      const engine = new ToldEngine(life('a'));
      engine.store(blocks(1, 3));
      const writer = write(directory, engine, { lifeMs: 3_000 });
      await soon('published', () => isHeld(directory, blocks(1, 3)));
      // Four renewals are longer than its first life was.
      const { calls } = writer.stats;
      await soon('renewed', async () => writer.stats.calls >= calls + 4);
      expect(await held(directory, blocks(1, 3))).toEqual([['a', '1', 3]]);
      expect(writer.stats.joins).toBe(1);
      // As when somebody else joins by the same name for a moment: this one is over for good.
      await directory.join(life('a', '2'), 60_000);
      await soon('it is over', async () => writer.state.name === 'over');
      expect(await held(directory, blocks(1, 3))).toEqual([]);
    });

    it('publishes more than may wait while that changes, without beginning anew', async () => {
      const directory = await open();
      const engine = new ToldEngine(life('a'));
      const keys = blocks(5, 10_000);
      engine.store(keys);
      let changes = 0;
      const changing: WriterOptions['directory'] = {
        join: (...asked) => directory.join(...asked),
        renew: (...asked) => directory.renew(...asked),
        fence: (...asked) => directory.fence(...asked),
        withdraw: (...asked) => directory.withdraw(...asked),
        publish: (...asked) => {
          if (changes < 20) engine.store(blocks(100 + changes++, 1), 'host');
          return directory.publish(...asked);
        },
      };
      const writer = write(changing, engine, { maxQueuedKeys: 100 });
      await soon('the end of it', () => isHeld(directory, keys.slice(-4_000)));
      await soon('what changed meanwhile', () => isHeld(directory, blocks(100, 1)));
      expect(writer.stats.joins).toBe(1);
    });

    it('joins anew when more waits than may', async () => {
      const directory = await open();
      const engine = new ToldEngine(life('a'));
      const writer = write(directory, engine, { maxQueuedKeys: 100 });
      await soon('joined', async () => writer.state.name === 'published');
      const keys = blocks(5, 3_000);
      for (let from = 0; from < keys.length; from += 10) engine.store(keys.slice(from, from + 10));
      await soon('all of it', () => isHeld(directory, keys));
      expect(writer.stats.joins).toBeGreaterThan(1);
    });
  });
}

describe.skipIf(findServer('redis-server') === null)('a directory writer, while Redis', () => {
  it.each(['is restarted empty', 'stands still', 'forgets all', 'is full'] as const)('%s', async (what) => {
    const server = await startRedis({ settings: { maxmemory: '16mb', 'maxmemory-policy': 'noeviction' } });
    const directory = redisDirectory({
      servers: { urls: [server.url] },
      space: 'writer',
      budgetMs: 200,
      stallMs: 1_000,
      backoff: { firstMs: 20, maxMs: 200, factor: 2 },
    });
    ends.push(server.stop, () => directory.close());
    await directory.ready(10_000);
    const engine = new ToldEngine(life('a'));
    engine.store(blocks(1, 50));
    const states: string[] = [];
    const writer = write(directory, engine, { lifeMs: 3_000, onState: ({ name }) => states.push(name) });
    await soon('published', () => isHeld(directory, blocks(1, 50)));
    const meanwhile = () => {
      engine.remove(blocks(1, 50).slice(40));
      engine.store(blocks(2, 50));
    };
    switch (what) {
      case 'is restarted empty':
        await server.kill();
        meanwhile();
        await soon('it is known', async () => writer.state.name === 'away');
        await server.restart();
        break;
      case 'stands still':
        server.signal('SIGSTOP');
        meanwhile();
        await soon('it is known', async () => writer.state.name === 'away');
        server.signal('SIGCONT');
        break;
      case 'forgets all':
        await server.admin.flushall();
        meanwhile();
        break;
      case 'is full': {
        await server.admin.config('SET', 'maxmemory', '1mb');
        meanwhile();
        await soon('it is known', async () => writer.state.name === 'away');
        await server.admin.config('SET', 'maxmemory', '16mb');
      }
    }
    await soon('all that is held', () => isHeld(directory, blocks(2, 50)));
    expect(await held(directory, blocks(1, 50))).toEqual([['a', '1', 40]]);
    expect(writer.state.name).toBe('published');
  });
});
