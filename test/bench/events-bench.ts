/**
 * The event log bench: from the engine's event to the index of a follower, over one real NATS server, against the same events published as
 * one message each and subscribed to: `nats` on a plain subject, without a log, and `jetstream` into a log, acknowledged. What ours does
 * beyond the baselines: order, holes, batches, and the index.
 */
import { connect, type NatsConnection, StorageType } from 'nats';
import { type NatsEventBusOptions, natsEventBus } from '../../src/kv/events/nats/index.ts';
import { type EventBus, type KvEvent, type KvEventEnvelope, type KvSnapshot, memoryDirectory } from '../../src/kv/index.ts';
import { systemClock } from '../../src/shared/index.ts';
import { type NatsServer, startNats } from '../servers/nats.ts';
import { findServer, installServer } from '../servers/programs.ts';
import { describeMachine } from './machine.ts';
import type { BenchOptions } from './options.ts';
import type { Progress } from './progress.ts';
import { quantiles } from './quantiles.ts';
import { compare, rotate, type Sample } from './ratio.ts';
import type { Report } from './report.ts';

const OURS = 'sluice';
const MEASURED_MS = 1_000;
/** Blocks that one event names: those of a step that fills some sequences' blocks. */
const KEYS = 4;
/** As an event of ours is long: incarnation, record, keys. */
const PAYLOAD_BYTES = 53 + 16 * KEYS;
/** Events that are under way at most. */
const WINDOW = 4_000;
const PACE_MS = 2;
const READY_MS = 10_000;

/** Sends one event; `arrived` of the contender's start is called for each that came. */
interface Contender {
  readonly name: string;
  readonly send: () => void;
  readonly close: () => Promise<void>;
}

type Start = (server: NatsServer, arrived: () => void) => Promise<Contender>;

export async function benchEvents(options: BenchOptions, progress: Progress): Promise<Report> {
  const failure = installServer('nats-server');
  if (failure !== null) throw new Error(failure);
  const server = await startNats();
  try {
    const samples: Sample[] = [];
    // The first round is for the compiler.
    for (let repeat = -1; repeat < options.runs; repeat += 1) {
      progress.step(repeat < 0 ? 'warming up' : `run ${repeat + 1}/${options.runs}`);
      const limitMs = repeat < 0 ? MEASURED_MS / 2 : (options.seconds ?? MEASURED_MS / 1_000) * 1_000;
      for (const start of rotate([startOurs, startPlain, startLog], Math.max(0, repeat))) {
        const measured = await measure(server, start, limitMs);
        if (repeat >= 0) samples.push(...measured.map((sample) => ({ ...sample, repeat })));
      }
    }
    return reportOf(samples, options.runs, await versionOf(server));
  } finally {
    await server.stop();
  }
}

async function measure(server: NatsServer, start: Start, limitMs: number): Promise<Omit<Sample, 'repeat'>[]> {
  let arrivals = 0;
  let onArrival: () => void = () => undefined;
  const contender = await start(server, () => {
    arrivals += 1;
    onArrival();
  });
  const { name, send } = contender;
  try {
    const began = performance.now();
    let sent = 0;
    while (performance.now() - began < limitMs) {
      for (let burst = 0; burst < 64 && sent - arrivals < WINDOW; burst += 1, sent += 1) send();
      await new Promise((resolve) => setImmediate(resolve));
    }
    const throughput = (arrivals * 1_000) / (performance.now() - began);
    while (arrivals < sent) await new Promise((resolve) => setTimeout(resolve, 1));
    const delays: number[] = [];
    const end = performance.now() + limitMs;
    while (performance.now() < end) {
      const at = performance.now();
      const came = new Promise<void>((resolve) => {
        onArrival = resolve;
      });
      send();
      await came;
      delays.push(performance.now() - at);
      await new Promise((resolve) => setTimeout(resolve, PACE_MS));
    }
    const { p50, p99 } = quantiles(delays);
    const sample = (metric: string, value: number) => ({ contender: name, metric, value });
    return [sample('throughput', throughput), sample('delay.p50', p50), sample('delay.p99', p99)];
  } finally {
    await contender.close();
  }
}

let spaces = 0;

async function startOurs(server: NatsServer, arrived: () => void): Promise<Contender> {
  spaces += 1;
  const options: NatsEventBusOptions = { servers: { urls: [server.url] }, space: `bench${spaces}` };
  const [teller, follower]: readonly EventBus[] = [natsEventBus(options), natsEventBus(options)];
  if (!teller || !follower) throw new Error('no bus');
  await Promise.all([teller.ready(READY_MS), follower.ready(READY_MS)]);
  const life = { instance: 'a', incarnation: 'b1d3a6d0-0000-4000-8000-000000000000' };
  let seq = 0;
  let listener: (envelope: KvEventEnvelope) => void = () => undefined;
  const telling = teller.log.tell(life, {
    snapshot: (): KvSnapshot => ({ incarnation: life.incarnation, seq, tiers: {} }),
    onEvent: (told) => {
      listener = told;
      return () => undefined;
    },
    load: () => ({ running: 1 }),
  });
  const directory = memoryDirectory({ clock: systemClock });
  const following = follower.log.follow({
    update: (instance, update) => {
      const outcome = directory.apply(instance, update);
      if (outcome !== 'applied' && outcome !== 'stale') throw new Error(`an event was ${outcome}`);
      if ('event' in update) arrived();
      return outcome;
    },
  });
  while (!following.isTold(life)) await new Promise((resolve) => setTimeout(resolve, 5));
  return {
    name: OURS,
    send: () => {
      seq += 1;
      const event: KvEvent = { type: seq % 2 === 1 ? 'stored' : 'removed', tier: 'hbm', keys: keysOf((seq - 1) >> 1) };
      listener({ incarnation: life.incarnation, seq, event });
    },
    close: async () => {
      telling.stop();
      following.stop();
      await Promise.all([teller.close(), follower.close()]);
    },
  };
}

async function startPlain(server: NatsServer, arrived: () => void): Promise<Contender> {
  const [publisher, subscriber] = await pair(server);
  subscriber.subscribe('plain.event', { callback: arrived });
  await subscriber.flush();
  const payload = Buffer.alloc(PAYLOAD_BYTES, 7);
  return { name: 'nats', send: () => publisher.publish('plain.event', payload), close: () => closeBoth(publisher, subscriber) };
}

async function startLog(server: NatsServer, arrived: () => void): Promise<Contender> {
  const [publisher, subscriber] = await pair(server);
  const manager = await publisher.jetstreamManager();
  await manager.streams.add({ name: 'plain_log', subjects: ['log.event'], storage: StorageType.Memory, max_bytes: 64 * 2 ** 20 });
  const consumer = await subscriber.jetstream().consumers.get('plain_log');
  const messages = await consumer.consume({ max_messages: 256, callback: arrived });
  const log = publisher.jetstream();
  const payload = Buffer.alloc(PAYLOAD_BYTES, 7);
  return {
    name: 'jetstream',
    send: () => void log.publish('log.event', payload, { timeout: READY_MS }),
    close: async () => {
      messages.stop();
      await manager.streams.delete('plain_log');
      await closeBoth(publisher, subscriber);
    },
  };
}

async function pair(server: NatsServer): Promise<[NatsConnection, NatsConnection]> {
  const open = () => connect({ servers: server.url, reconnect: false });
  return [await open(), await open()];
}

async function closeBoth(...connections: readonly NatsConnection[]): Promise<void> {
  await Promise.all(connections.map((connection) => connection.close()));
}

function keysOf(event: number): string[] {
  return Array.from({ length: KEYS }, (_, index) =>
    (BigInt((event % 100_000) * KEYS + index + 1) * 0x9e3779b97f4a7c15f39cc0605cedc835n).toString(16).padStart(32, '0').slice(-32),
  );
}

async function versionOf(server: NatsServer): Promise<string> {
  const connection = await connect({ servers: server.url });
  const version = connection.info?.version ?? 'unknown';
  await connection.close();
  return version;
}

function reportOf(samples: readonly Sample[], runs: number, version: string): Report {
  const { ratio, absolute, omitted } = compare(samples, OURS);
  const where = `NATS ${version} at ${findServer('nats-server') ?? 'nowhere'}`;
  return {
    name: 'events',
    ratio,
    baseline: {
      nats: `${where}, one plain message of ${PAYLOAD_BYTES} bytes per event, published and subscribed to`,
      jetstream: `${where}, the same into a stream in memory, each acknowledged, read by an ordered consumer`,
    },
    runs,
    machine: describeMachine(),
    absolute,
    units: { throughput: 'events/s', 'delay.p50': 'ms', 'delay.p99': 'ms' },
    notes: [
      `one publisher and one subscriber in one process; events of ${KEYS} blocks; throughput with ${WINDOW} under way at most; delay one at a time`,
      'ours goes into a stream in memory too, ends in the index, and puts events that come in one turn of the event loop into one message',
      ...omitted,
    ],
  };
}
