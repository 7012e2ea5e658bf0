/** What the event log and the queue do while NATS is away, stands still, comes back empty, or cannot be kept up with: nothing is wrong afterwards. */
import { connect } from 'nats';
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

interface Bed {
  readonly engine: ToldEngine;
  readonly index: Index;
  readonly following: Following;
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
  return { engine, index, following };
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
      expect(performance.now() - before).toBeLessThan(100);
      await pause(AWAY_MS);
    } finally {
      nats.signal('SIGCONT');
    }
    await expectMended(bed);
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
    const admin = await connect({ servers: nats.url });
    await (await admin.jetstreamManager()).streams.delete('sluice_survival');
    await admin.close();
    change(bed.engine);
    await expectMended(bed);
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
    await soon('both were taken', () => taken.includes('slow') && taken.includes('quick'));
    await pause(200);
    // As by kill -9: the connection ends, and nobody acknowledges.
    await first.close();
    const got: string[] = [];
    const worker = second.queue.work('a', async ({ id, attempt }) => {
      got.push(`${id} ${attempt}`);
      return 'done';
    });
    await soon('delivered again', () => got.length > 0);
    await pause(1_500);
    expect(got).toEqual(['slow 2']);
    await worker.stop();
  });

  it('keeps a command whose handler takes longer than an answer may', async () => {
    const nats = await server();
    const bus = await open(nats.url, { queue: { ackMs: 500 } });
    let runs = 0;
    const worker = bus.queue.work('a', async () => {
      runs += 1;
      await pause(2_000);
      return 'done';
    });
    await bus.queue.add({ id: '1', target: 'a', body: '' });
    await pause(3_500);
    expect(runs).toBe(1);
    await worker.stop();
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
    await worker.stop();
  });
});
