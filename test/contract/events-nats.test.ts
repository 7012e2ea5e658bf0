/** The contract on a real NATS server, between processes whose clocks differ by a minute. */
import { afterAll, beforeAll, describe } from 'vitest';
import { natsEventBus } from '../../src/kv/events/nats/index.ts';
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
});
