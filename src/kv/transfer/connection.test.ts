import { afterEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../shared/index.ts';
import { kvBlock } from '../host/block.ts';
import { pull } from './client.ts';
import { ConnectionStore } from './connection.ts';
import { TransferServer } from './server.ts';
import { SOON } from './transfer.fixture.ts';

const BLOCK_TOKENS = 16;
const BYTES = 5000;
const keys = Array.from({ length: 40 }, (_, i) => i.toString(16).padStart(32, '0'));
const tokens = Int32Array.from({ length: keys.length * BLOCK_TOKENS }, (_, i) => i);
const blocks = new Map(
  keys.map((key, i) => [key, kvBlock(key, null, tokens.slice(i * BLOCK_TOKENS, (i + 1) * BLOCK_TOKENS), new Uint8Array(BYTES).fill(i))]),
);

const servers: TransferServer[] = [];
const stores: ConnectionStore[] = [];
afterEach(async () => {
  for (const store of stores.splice(0)) store.close();
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

async function serve(limits: { keepMs?: number } = {}) {
  const released: string[] = [];
  const server = new TransferServer({
    source: { block: (key) => blocks.get(key) ?? null },
    leases: { renew: () => true, release: (id) => released.push(id) },
    clock: systemClock,
    bytesPerSecondPerPeer: null,
    limits,
  });
  servers.push(server);
  const store = new ConnectionStore({ clock: systemClock, perPeer: 2, idleMs: 10_000 });
  stores.push(store);
  const address = await server.listen({ host: '127.0.0.1', port: 0 });
  const ask = async (count: number, lease = 'l') => {
    const came: number[] = [];
    const result = await pull({
      ...address,
      lease,
      keys: keys.slice(0, count),
      tokens,
      blockTokens: BLOCK_TOKENS,
      bytesPerBlock: BYTES,
      deadlineMs: 3_000,
      clock: systemClock,
      connections: store,
      onBlock: (index, block) => came.push(block.bytes[BYTES - 1] === index ? index : -1),
    });
    return { ...result, came };
  };
  return { server, ask, released };
}

describe('a connection kept between pulls', () => {
  it('serves pull after pull, each with its own blocks and acknowledgement', async () => {
    const { server, ask, released } = await serve();
    for (const count of [40, 3, 0, 17, 40, 1]) {
      const { blocks: got, failed, came } = await ask(count, `lease-${count}`);
      expect({ got, failed }).toEqual({ got: count, failed: null });
      expect(came).toEqual(Array.from({ length: count }, (_, i) => i));
      await vi.waitFor(() => expect(released).toContain(`lease-${count}`), SOON);
    }
    expect(server.stats()).toMatchObject({ connections: 1, acknowledged: 6 });
  });

  it('is one of several while pulls overlap, and no more than allowed stay', async () => {
    const { server, ask } = await serve();
    const results = await Promise.all(Array.from({ length: 6 }, () => ask(20)));
    expect(results.map((result) => result.blocks)).toEqual([20, 20, 20, 20, 20, 20]);
    await vi.waitFor(() => expect(server.stats().connections).toBeLessThanOrEqual(2), SOON);
    expect((await ask(5)).failed).toBeNull();
  });

  it('is replaced when the server closed it meanwhile', async () => {
    const { server, ask } = await serve({ keepMs: 30 });
    expect((await ask(5)).failed).toBeNull();
    await vi.waitFor(() => expect(server.stats().connections).toBe(0), SOON);
    expect(await ask(5)).toMatchObject({ blocks: 5, failed: null });
  });

  it('is not used again after a pull that failed', async () => {
    const { server, ask } = await serve();
    blocks.delete(keys[7] as string);
    expect(await ask(10)).toMatchObject({ blocks: 7, failed: expect.stringContaining('does not hold it') });
    expect(await ask(5)).toMatchObject({ blocks: 5, failed: null });
    await vi.waitFor(() => expect(server.stats().connections).toBe(1), SOON);
  });
});
