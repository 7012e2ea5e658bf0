/** What the event log and the queue do while NATS is away, stands still, comes back empty, or cannot be kept up with: nothing is wrong afterwards. */
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
const codeOf = (error: unknown) => (error instanceof Error && 'code' in error ? error.code : error);
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
      expect(performance.now() - before).toBeLessThan(100);
      await pause(AWAY_MS);
    } finally {
      nats.signal('SIGCONT');
    }
    await expectMended(bed);
  });

  it('gives up a NATS that stands still before it has read all that was sent, and can be closed meanwhile', async () => {
    const nats = await server();
    const [bus, other] = await Promise.all([open(nats.url), open(nats.url, { pingMs: 60_000 })]);
    nats.signal('SIGSTOP');
    try {
      // More than the kernel takes for a reader that does not read.
      const body = 'x'.repeat(65_000);
      const adds = [bus, other].flatMap(({ queue }, at) =>
        Array.from({ length: 400 }, (_, id) => queue.add({ id: `${at}-${id}`, target: 'a', body }).catch(codeOf)),
      );
      await soon('it is given up', () => bus.health.state === 'away', 10_000);
      expect(bus.health).toMatchObject({ fault: { code: 'timeout' } });
      await other.close();
      for (const answer of await Promise.all(adds)) expect(['added', 'timeout', 'unavailable']).toContain(answer);
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

describe.skipIf(findServer('nats-server') === null)('the queue', () => {
  it('delivers again what a worker that was killed had taken, and not what was done', async () => {
    const nats = await server();
    const [first, second] = [await open(nats.url, { queue: { ackMs: 500 } }), await open(nats.url, { queue: { ackMs: 500 } })];
    const taken: string[] = [];
    first.queue.work('a', async ({ id }) => {
      taken.push(id);
      if (id === 'quick') return 'done';
      return new Promise(() => undefined);
    });
    await second.queue.add({ id: 'quick', target: 'a', body: '' });
    await second.queue.add({ id: 'slow', target: 'a', body: 'b' });
    const { streams } = await managerOf(nats);
    const left = async () => (await streams.info('sluice_survival_work')).state.messages;
    await until('one was taken and the other is done', async () => taken.includes('slow') && (await left()) === 1);
    // As by kill -9: the connection ends, and nobody acknowledges.
    await first.close();
    const got: string[] = [];
    const worker = second.queue.work('a', async ({ id, attempt }) => {
      got.push(`${id} ${attempt}`);
      return 'done';
    });
    await until('all is done', async () => (await left()) === 0);
    expect([taken.toSorted(), got]).toEqual([['quick', 'slow'], ['slow 2']]);
    worker.stop();
  });

  it('keeps a command whose handler takes longer than an answer may', async () => {
    const nats = await server();
    const bus = await open(nats.url, { queue: { ackMs: 1_000 } });
    const admin = await adminOf(nats);
    const said: string[] = [];
    admin.subscribe('$JS.ACK.>', { callback: (_error, message) => said.push(message.string()) });
    await admin.flush();
    const gate = Promise.withResolvers<'done'>();
    let runs = 0;
    const worker = bus.queue.work('a', () => {
      runs += 1;
      return gate.promise;
    });
    await bus.queue.add({ id: '1', target: 'a', body: '' });
    // One word each third of the time that an answer may take.
    await soon('it took twice as long', () => said.filter((word) => word === '+WPI').length >= 6);
    gate.resolve('done');
    await soon('done', () => said.includes('+ACK'));
    const { delivered } = await (await managerOf(nats)).consumers.info('sluice_survival_work', 'a');
    // Were it delivered again to the same worker, that would run it once all the same.
    expect([runs, delivered.consumer_seq]).toEqual([1, 1]);
    worker.stop();
  });

  it('is made anew when somebody deletes the stream, by whoever adds, and by whoever works', async () => {
    const nats = await server();
    const first = await open(nats.url);
    const { streams } = await managerOf(nats);
    const added = (id: string) => async () =>
      first.queue.add({ id, target: 'a', body: '' }).then(
        () => true,
        () => false,
      );
    await streams.delete('sluice_survival_work');
    await until('there is one again', added('1'), BACK_MS);
    const second = await open(nats.url);
    const got: string[] = [];
    const worker = second.queue.work('a', async ({ id }) => {
      got.push(id);
      return 'done';
    });
    await soon('the first came', () => got.includes('1'));
    await streams.delete('sluice_survival_work');
    await until('there is one again', added('2'), BACK_MS);
    await soon('the next came', () => got.includes('2'));
    worker.stop();
  });

  it('takes up its work after NATS was away', async () => {
    const nats = await server();
    const bus = await open(nats.url);
    const got: string[] = [];
    const worker = bus.queue.work('a', async ({ id }) => {
      got.push(id);
      return 'done';
    });
    await nats.restart();
    const added = async () =>
      bus.queue.add({ id: 'later', target: 'a', body: '' }).then(
        () => true,
        () => false,
      );
    await until('NATS is back', added, BACK_MS);
    await soon('the command came', () => got.includes('later'));
    worker.stop();
  });
});
