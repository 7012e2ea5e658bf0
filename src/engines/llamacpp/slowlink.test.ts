/** A hand-off over a link of 1 MB/s: what does not come in time is computed, and the tokens are the same. */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { EngineCore } from '../port.ts';
import { generate, prefill, randomTokens, request, SEEDED, TinyEngines } from './tinyengines.fixture.ts';

const BYTES_PER_SECOND = 1e6;
const engines = new TinyEngines({ maxSequences: 2, hostBytes: 16 * 2 ** 20, leaseMs: 2_000 });
let alone: EngineCore;
let prefiller: EngineCore;
let decoder: EngineCore;
let relay: Relay;

beforeAll(async () => {
  alone = await engines.open('a');
  prefiller = await engines.open('p', { role: 'prefill' });
  decoder = await engines.open('d', { role: 'decode' });
  relay = await slowRelay(prefiller.info.transfer.port);
}, 120_000);
afterAll(async () => {
  relay.close();
  await engines.closeAll();
});

interface Relay {
  readonly port: number;
  readonly close: () => void;
}

/** Passes bytes on, those from the server at 1 MB/s. */
async function slowRelay(port: number): Promise<Relay> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((client) => {
    const upstream = connect({ host: '127.0.0.1', port });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => socket.destroy());
    }
    client.on('data', (data) => upstream.write(data));
    upstream.on('data', (data) => {
      upstream.pause();
      setTimeout(
        () => {
          client.write(data);
          upstream.resume();
        },
        (data.length / BYTES_PER_SECOND) * 1000,
      );
    });
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const bound = address !== null && typeof address === 'object' ? address.port : 0;
  const close = () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  };
  return { port: bound, close };
}

it('is given up at the deadline; what came is used, the rest computed, and no lease is left', async () => {
  const ask = request(randomTokens(1_000, 9), { sampling: SEEDED });
  const expected = await generate(alone, ask);
  const { ticket } = await prefill(prefiller, ask);
  expect(ticket.blocks).toBe(62);
  const { tokens, report } = await generate(decoder, { ...ask, ticket: { ...ticket, port: relay.port }, pullDeadlineMs: 400 });
  expect(tokens).toEqual(expected.tokens);
  expect(report.handOff?.failed).toMatch(/of 62 blocks/);
  expect(report.reused.peer).toBe((report.handOff?.blocks ?? 0) * 16);
  expect(report.reused.peer).toBeLessThan(62 * 16);
  expect(report.reused.peer + report.computed).toBe(1_000);
  await expect.poll(() => prefiller.load().leases, { timeout: 10_000 }).toBe(0);
});
