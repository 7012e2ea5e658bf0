/** The contract on a real NATS server, between processes whose clocks differ by a minute. */
import { connect } from 'nats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { natsEventBus } from '../../src/kv/events/nats/index.ts';
import { ensureStream } from '../../src/kv/events/nats/streams.ts';
import { type NatsServer, startNats } from '../servers/nats.ts';
import { findServer } from '../servers/programs.ts';
import { eventBusContract } from './events-contract.ts';
import { SKEW_MS, skewed } from './skewed.ts';

let spaces = 0;

describe.skipIf(findServer('nats-server') === null)('NATS', () => {
  let server: NatsServer;
  beforeAll(async () => {
    server = await startNats();
  });
  afterAll(() => server?.stop());

  eventBusContract('NATS', async (setup = {}) => {
    spaces += 1;
    const make = (ms: number) =>
      natsEventBus({ servers: { urls: [server.url] }, space: `s.${spaces}`, connectMs: 5_000, clock: skewed(ms), ...setup });
    const [bus, other] = [make(SKEW_MS), make(-SKEW_MS)];
    await Promise.all([bus.ready(10_000), other.ready(10_000)]);
    return { bus, other };
  });

  it('processes that begin at the same time make one stream, and none of them is refused', { timeout: 60_000 }, async () => {
    const processes = await Promise.all(Array.from({ length: 8 }, () => connect({ servers: server.url })));
    const managers = await Promise.all(processes.map((one) => one.jetstreamManager()));
    // The server refuses one of 500 where nobody looks again.
    for (let space = 0; space < 600; space += 1) {
      const terms = { name: `AT-ONCE-${space}`, subjects: `at-once.${space}.*`, maxAgeMs: 60_000, replicas: 1 };
      const made = managers.map((manager, index) =>
        // Some of them have other terms, as in a roll.
        ensureStream({ manager }, { ...terms, maxBytes: index < 6 ? 2 ** 20 : 2 ** 21 }, { shown: server.url, usesTls: false }),
      );
      const ends = await Promise.allSettled(made);
      expect(ends.filter(({ status }) => status === 'rejected')).toEqual([]);
    }
    await Promise.all(processes.map((one) => one.close()));
  });
});
