/** What the event log does while NATS is away, stands still, comes back empty, or cannot be kept up with: nothing is wrong afterwards. */
import { connect, type JetStreamManager, type NatsConnection } from 'nats';
import { afterEach, describe, expect, it } from 'vitest';
import { type NatsEventBusOptions, natsEventBus } from '../../src/kv/events/nats/index.ts';
import type { EventBus, Following } from '../../src/kv/index.ts';
import { Relay } from '../cluster/relay.ts';
import { life } from '../contract/directory-contract.ts';
import { blocks, Index, ToldEngine } from '../contract/events-engine.ts';
import { type NatsServer, startNats } from '../servers/nats.ts';
import { findServer } from '../servers/programs.ts';
import { until } from '../servers/server.ts';

const AWAY_MS = 3_000;
const BACK_MS = 30_000;
const QUICK = { connectMs: 500, pingMs: 200, backoff: { firstMs: 20, maxMs: 200, factor: 2 } } as const;

const ends: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function server(conf: readonly string[] = []): Promise<NatsServer> {
  const nats = await startNats({ conf });
  ends.push(nats.stop);
  return nats;
}

async function open(url: string, options: Partial<NatsEventBusOptions> = {}): Promise<EventBus> {
  const bus = natsEventBus({ servers: { urls: [url] }, space: 'survival', ...QUICK, ...options });
  ends.push(() => bus.close());
  await bus.ready(10_000);
  return bus;
}

async function adminOf(nats: NatsServer): Promise<NatsConnection> {
  const admin = await connect({ servers: nats.url });
  ends.push(() => admin.close());
  return admin;
}

async function managerOf(nats: NatsServer): Promise<JetStreamManager> {
  return (await adminOf(nats)).jetstreamManager();
}

interface Bed {
  readonly engine: ToldEngine;
  readonly index: Index;
  readonly following: Following;
  /** What it follows over. */
  readonly bus: EventBus;
}

/** An engine that tells over one connection, and an index that follows over another. */
async function bedOn(tellUrl: string, followUrl = tellUrl, options: Partial<NatsEventBusOptions> = {}): Promise<Bed> {
  const [teller, follower] = await Promise.all([open(tellUrl, options), open(followUrl, options)]);
  const engine = new ToldEngine(life('a'));
  engine.store(blocks(1, 20));
  const telling = teller.log.tell(engine.life, engine);
  const index = new Index();
  const following = follower.log.follow(index);
  ends.push(
    () => telling.stop(),
    () => following.stop(),
  );
  await soon('told', () => following.isTold(engine.life));
  return { engine, index, following, bus: follower };
}

const soon = (what: string, holds: () => boolean, limitMs = BACK_MS) => until(what, async () => holds(), limitMs);
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Changes while nobody hears; then what is known is exactly what is held. */
async function expectMended({ engine, index, following }: Bed): Promise<void> {
  await soon('told again', () => following.isTold(engine.life));
  const keys = [...blocks(1, 20), ...blocks(2, 200), ...blocks(3, 50)];
  const held = keys.map((key) => engine.held.get('hbm')?.has(key) ?? false);
  await soon('the same is known', () => JSON.stringify(index.holds('a', keys)) === JSON.stringify(held));
}

function change(engine: ToldEngine): void {
  for (const key of blocks(2, 200)) engine.store([key]);
  engine.remove(blocks(1, 5));
  engine.remove(blocks(2, 30));
}

describe.skipIf(findServer('nats-server') === null)('the event log', () => {
  it('outlives a NATS that is killed and comes back empty', async () => {
    const nats = await server();
    const bed = await bedOn(nats.url);
    await nats.kill();
    await soon('the loss is known', () => !bed.following.isTold(bed.engine.life), 5_000);
    change(bed.engine);
    await pause(500);
    await nats.restart();
    await expectMended(bed);
    bed.engine.store(blocks(3, 50));
    await expectMended(bed);
  });

  it('outlives a NATS that stands still, and one that tells is not held up', async () => {
    const nats = await server();
    const bed = await bedOn(nats.url);
    nats.signal('SIGSTOP');
    try {
      await soon('the silence is known', () => !bed.following.isTold(bed.engine.life), 5_000);
      const before = performance.now();
      change(bed.engine);
      expect(performance.now() - before).toBeLessThan(AWAY_MS / 3);
      await pause(AWAY_MS);
    } finally {
      nats.signal('SIGCONT');
    }
    await expectMended(bed);
  });

  it('gives up a NATS that stands still before it has read all that was sent, and can be closed meanwhile', async () => {
    const nats = await server();
    // More than the kernel takes for a reader that does not read: 32 kB each.
    const [messages, keys] = [800, blocks(2, 2_000)];
    const limits = { window: messages, maxQueuedKeys: messages * (keys.length + 1) };
    const [bus, other] = await Promise.all([open(nats.url, { limits }), open(nats.url, { limits, pingMs: 60_000 })]);
    const tellings = [bus, other].map(({ log }, at) => {
      const engine = new ToldEngine(life(`a${at}`));
      const telling = log.tell(engine.life, engine);
      ends.push(() => telling.stop());
      return { engine, telling };
    });
    await soon('both tell', () => tellings.every(({ telling }) => telling.stats.snapshots === 1));
    nats.signal('SIGSTOP');
    try {
      for (const { engine } of tellings) for (let message = 0; message < messages; message += 1) engine.store(keys);
      await soon('it is given up', () => bus.health.state === 'away', 10_000);
      expect(bus.health).toMatchObject({ fault: { code: 'timeout' } });
      await other.close();
    } finally {
      nats.signal('SIGCONT');
    }
  });

  it.each(['teller', 'follower'] as const)('outlives a network that is cut between NATS and the %s', async (who) => {
    const nats = await server();
    const relay = await Relay.open(nats.port);
    ends.push(() => relay.close());
    const through = `nats://127.0.0.1:${relay.port}`;
    const bed = await (who === 'teller' ? bedOn(through, nats.url) : bedOn(nats.url, through));
    relay.cut('both');
    await soon('the cut is known', () => !bed.following.isTold(bed.engine.life), 5_000);
    change(bed.engine);
    await pause(AWAY_MS);
    await relay.mend();
    await expectMended(bed);
  });

  it('sees what a follower missed that could not keep up, and asks for all of it', async () => {
    const nats = await server();
    const relay = await Relay.open(nats.port);
    ends.push(() => relay.close());
    const bed = await bedOn(nats.url, `nats://127.0.0.1:${relay.port}`, { maxBytes: 2 ** 20, pingMs: 60_000 });
    relay.cut('both');
    // More than the stream holds.
    for (let turn = 0; turn < 100; turn += 1) {
      bed.engine.store(blocks(100 + turn, 2_000));
      await pause(2);
    }
    change(bed.engine);
    await relay.mend();
    await expectMended(bed);
    const last = blocks(199, 2_000);
    await soon('the newest is known', () => bed.index.held(last)['a'] === 2_000);
  });

  it('is made anew when somebody deletes the stream', async () => {
    const nats = await server();
    const bed = await bedOn(nats.url);
    await (await managerOf(nats)).streams.delete('sluice_survival');
    change(bed.engine);
    await expectMended(bed);
  });

  it('does not go on in another log where it left off in the one before', async () => {
    const nats = await server();
    const relay = await Relay.open(nats.port);
    ends.push(() => relay.close());
    const { engine, index, following, bus } = await bedOn(nats.url, `nats://127.0.0.1:${relay.port}`);
    for (const key of blocks(2, 50)) engine.store([key]);
    await soon('all is known', () => index.held(blocks(2, 50))['a'] === 50);
    relay.cut('both');
    await soon('the cut is known', () => bus.health.state === 'away');
    const [admin, { streams }] = [await adminOf(nats), await managerOf(nats)];
    const { config, state } = await streams.info('sluice_survival');
    await streams.delete(config.name);
    await streams.add(config);
    // Longer than the other one; who reads what was in it before he came cannot read it, and says so.
    const length = state.last_seq + 10;
    for (let more = 0; more < length; more += 1) admin.publish('sluice.survival.event.b', 'of long ago');
    await until('it is there', async () => (await streams.info(config.name)).state.last_seq === length);
    const { snapshots } = following.stats;
    await relay.mend();
    await soon('all was asked for anew', () => following.stats.snapshots > snapshots);
    expect(following.stats.unreadable).toBe(0);
  });

  it('goes on when JetStream is full', async () => {
    const nats = await server(['jetstream { max_memory_store: 100M, max_file_store: 10M }']);
    const bed = await bedOn(nats.url, nats.url, { maxBytes: 2 ** 20 });
    for (let turn = 0; turn < 100; turn += 1) bed.engine.store(blocks(100 + turn, 2_000));
    change(bed.engine);
    await expectMended(bed);
  });
});
