import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { FakeClock, systemClock } from '../../shared/index.ts';
import { HostTier } from '../host/tier.ts';
import { pull } from './client.ts';
import { FrameMemory } from './framememory.ts';
import { controlFrame, encodeRequest, FRAME, HEADER_BYTES, readHeader } from './frames.ts';
import { TransferServer, type TransferServerOptions } from './server.ts';
import { areFirst, atEnd, type Chain, CountingClock, chainOf, endAll, requestFor, SOON } from './transfer.fixture.ts';

afterEach(endAll);

const CHAIN = chainOf(5);
/** More than any socket buffers hold. */
const LARGE = chainOf(64, { blockTokens: 4, bytesPerBlock: 1 << 20 });

/** A server over a host tier that holds `chain` under the lease `lease-1`. */
async function serverOf(chain: Chain, more: Partial<TransferServerOptions> = {}) {
  const clock = more.clock ?? systemClock;
  let ids = 0;
  const tier = new HostTier({ capacityBytes: 1 << 28, clock, newLeaseId: () => `lease-${++ids}` });
  tier.putChain(chain.blocks);
  tier.lease(chain.keys, 30_000);
  const server = new TransferServer({
    source: { block: (key) => tier.peek(key) },
    leases: tier,
    clock,
    bytesPerSecondPerPeer: null,
    ...more,
  });
  atEnd(() => server.close());
  const { port } = await server.listen();
  return { server, tier, port };
}

/** A client that says what the test says, and keeps what it hears. */
async function rawClient(port: number) {
  const heard: { bytes: Buffer; closed: boolean } = { bytes: Buffer.alloc(0), closed: false };
  const socket = connect({ port, host: '127.0.0.1' });
  atEnd(() => {
    socket.destroy();
  });
  socket.on('error', () => {});
  socket.on('close', () => {
    heard.closed = true;
  });
  await new Promise<void>((resolve) => socket.once('connect', () => resolve()));
  const listen = () => socket.on('data', (chunk) => (heard.bytes = Buffer.concat([heard.bytes, chunk])));
  return { socket, heard, listen };
}

function wanted(chain: Chain, more: object = {}): Buffer {
  const { keys, blockTokens, bytesPerBlock } = chain;
  return encodeRequest({ lease: 'lease-1', peer: '', from: 0, keys, blockTokens, bytesPerBlock, ...more });
}

/** Code of the error frame that the server ended with. */
async function refusalOf(port: number, said: Buffer): Promise<number> {
  const { socket, heard, listen } = await rawClient(port);
  listen();
  socket.write(said);
  await vi.waitFor(() => expect(heard.closed).toBe(true), SOON);
  const header = readHeader(heard.bytes, heard.bytes.length - HEADER_BYTES);
  if ('malformed' in header) throw new Error(header.malformed);
  expect(header.type).toBe(FRAME.error);
  return header.count;
}

describe('serving', () => {
  it('sends what is asked, and the acknowledgement ends the lease', async () => {
    const { server, tier, port } = await serverOf(CHAIN);
    const { request, pulled } = requestFor(CHAIN, port);
    expect(await pull(request)).toMatchObject({ blocks: 5, bytes: 500, failed: null });
    expect(areFirst(pulled, CHAIN, 5)).toBe(true);
    await vi.waitFor(() => expect(server.stats().connections).toBe(0), SOON);
    expect(tier.leases).toBe(0);
    expect(server.stats()).toEqual({ connections: 0, sentBlocks: 5, sentBytes: 500, acknowledged: 1, refused: 0, timedOut: 0 });
  });

  it('serves any size of block and any run of blocks', async () => {
    for (const [count, blockTokens, bytesPerBlock] of [
      [1, 1, 1],
      [3, 5, 7],
      [200, 16, 16_384],
      [3, 16, 3_000_001],
    ] as const) {
      const chain = chainOf(count, { blockTokens, bytesPerBlock });
      const { port } = await serverOf(chain);
      const { request, pulled } = requestFor(chain, port);
      expect(await pull(request)).toMatchObject({ blocks: count, failed: null });
      expect(areFirst(pulled, chain, count)).toBe(true);
      const rest = Math.floor(count / 2);
      const tail = {
        ...chain,
        keys: chain.keys.slice(rest),
        tokens: chain.tokens.subarray(rest * blockTokens),
        blocks: chain.blocks.slice(rest),
      };
      const second = await serverOf(chain);
      const part = requestFor(tail, second.port);
      expect(await pull(part.request)).toMatchObject({ blocks: count - rest, failed: null });
      expect(areFirst(part.pulled, tail, count - rest)).toBe(true);
    }
  });

  it('serves blocks that are kept as frames, adjacent or not, beside such that are not', async () => {
    const chain = chainOf(96, { blockTokens: 5, bytesPerBlock: 99_999 });
    const memory = new FrameMemory(chain);
    const frames = memory.take(60);
    const blocks = chain.blocks.map((block, i) => {
      const frame = i < 40 ? frames[i] : i % 4 === 0 ? frames.at((36 - i) / 4) : undefined;
      if (!frame) return block;
      memory.bytesOf(frame).set(block.bytes);
      return memory.block(frame, block);
    });
    const { port } = await serverOf({ ...chain, blocks });
    const { request, pulled } = requestFor(chain, port);
    expect(await pull(request)).toMatchObject({ blocks: 96, failed: null });
    expect(areFirst(pulled, chain, 96)).toBe(true);
  });

  it('only acknowledges when nothing is asked', async () => {
    const { server, tier, port } = await serverOf(CHAIN);
    const { request } = requestFor({ ...CHAIN, keys: [] }, port);
    expect(await pull(request)).toMatchObject({ blocks: 0, bytes: 0, failed: null });
    await vi.waitFor(() => expect([tier.leases, server.stats().acknowledged]).toEqual([0, 1]), SOON);
  });

  it('serves many at once, and leaves neither timers nor connections', async () => {
    const clock = new CountingClock();
    const chain = chainOf(40, { blockTokens: 16, bytesPerBlock: 20_000 });
    const { server, port } = await serverOf(chain, { clock, leases: { renew: () => true, release: () => {} } });
    const pulls = Array.from({ length: 30 }, () => requestFor(chain, port, { clock }));
    const results = await Promise.all(pulls.map(({ request }) => pull(request)));
    expect(results.every((result) => result.failed === null)).toBe(true);
    expect(pulls.every(({ pulled }) => areFirst(pulled, chain, 40))).toBe(true);
    await vi.waitFor(() => expect(server.stats()).toMatchObject({ connections: 0, acknowledged: 30 }), SOON);
    // The one left is the host tier's, for the lease that nobody released.
    await vi.waitFor(() => expect(clock.pending).toBe(1), SOON);
  });

  it('says which block is missing, of another size, or under no lease', async () => {
    const { tier, port } = await serverOf(CHAIN);
    const absent = { ...CHAIN, keys: CHAIN.keys.with(3, 'f'.repeat(32)) };
    expect(await pull(requestFor(absent, port).request)).toMatchObject({ blocks: 3, failed: 'block 3 of 5: the peer does not hold it' });
    const larger = { ...CHAIN, bytesPerBlock: 108 };
    expect((await pull(requestFor(larger, port).request)).failed).toBe('block 0 of 5: the peer holds it in another size');
    expect((await pull(requestFor(CHAIN, port, { lease: 'other' }).request)).failed).toBe(
      'block 0 of 5: the peer does not know the lease, or it is over',
    );
    expect(tier.leases).toBe(1);
  });

  it('renews the lease while it sends, and ends when it is over', async () => {
    const fake = new FakeClock();
    let renewals = 0;
    let alive = true;
    const leases = { renew: () => alive && ++renewals > 0, release: () => {} };
    const limits = { renewEveryMs: 10, inFlightBytes: 1 };
    // The budget makes every block wait: 400 bytes a second, 100 a batch.
    const { port } = await serverOf(CHAIN, { clock: fake, leases, limits, bytesPerSecondPerPeer: 400 });
    const { request, pulled } = requestFor(CHAIN, port);
    const running = pull(request);
    await vi.waitFor(() => {
      fake.advance(5);
      expect(pulled.length).toBeGreaterThanOrEqual(3);
    }, SOON);
    expect(renewals).toBeGreaterThanOrEqual(3);
    alive = false;
    const ended = vi.waitFor(
      async () => {
        fake.advance(50);
        return expect(await Promise.race([running, Promise.resolve(null)])).not.toBeNull();
      },
      { ...SOON, interval: 50 },
    );
    await ended;
    expect((await running).failed).toMatch(/^block [34] of 5: the peer does not know the lease, or it is over$/);
  });

  it('keeps to the byte budget of a peer', async () => {
    const chain = chainOf(30, { blockTokens: 4, bytesPerBlock: 10_000 });
    const { port } = await serverOf(chain, { bytesPerSecondPerPeer: 2_000_000 });
    const result = await pull(requestFor(chain, port, { peer: 'me' }).request);
    expect(result.failed).toBeNull();
    // 300 kB at 2 MB/s less the burst of 100 kB and the last batch, which need not be waited for.
    expect(result.ms).toBeGreaterThan(70);
  });
});

describe('clients at fault', () => {
  it('are told what was wrong, and cut off', async () => {
    const { server, port } = await serverOf(CHAIN, { limits: { maxKeys: 5 } });
    const version = wanted(CHAIN);
    version[4] = 7;
    const damaged = wanted(CHAIN);
    damaged[damaged.length - 1] = (damaged[damaged.length - 1] as number) ^ 1;
    const many = wanted({ ...CHAIN, keys: [...CHAIN.keys, ...CHAIN.keys] });
    const huge = wanted(CHAIN);
    huge.writeUInt32LE(0xfffffff0, 12);
    expect(await refusalOf(port, Buffer.from('GET / HTTP/1.1\r\nhost: kv\r\n\r\n and more'))).toBe(1);
    expect(await refusalOf(port, Buffer.alloc(100_000, 0xff))).toBe(1);
    expect(await refusalOf(port, version)).toBe(2);
    expect(await refusalOf(port, damaged)).toBe(1);
    expect(await refusalOf(port, many)).toBe(3);
    expect(await refusalOf(port, huge)).toBe(3);
    expect(await refusalOf(port, controlFrame(FRAME.ack, 0, 0))).toBe(1);
    expect(await refusalOf(port, wanted(CHAIN, { from: 0xffffffff }))).toBe(1);
    expect(await refusalOf(port, Buffer.concat([wanted(CHAIN), controlFrame(FRAME.end, 0, 0)]))).toBe(1);
    // The client may see the end of its connection before the server does.
    await vi.waitFor(() => expect(server.stats()).toMatchObject({ connections: 0, acknowledged: 0, refused: 9 }), SOON);
    expect((await pull(requestFor(CHAIN, port).request)).failed).toBeNull();
  });

  it('that say nothing, or half a request, lose the connection', async () => {
    const fake = new FakeClock();
    const clock = new CountingClock(fake);
    const { server, port } = await serverOf(CHAIN, { clock });
    const silent = await rawClient(port);
    const half = await rawClient(port);
    half.socket.write(wanted(CHAIN).subarray(0, 50));
    await vi.waitFor(() => expect(server.stats().connections).toBe(2), SOON);
    fake.advance(4999);
    await new Promise((resolve) => setImmediate(resolve));
    expect([silent.heard.closed, half.heard.closed]).toEqual([false, false]);
    fake.advance(1);
    await vi.waitFor(() => expect(server.stats()).toMatchObject({ connections: 0, timedOut: 2 }), SOON);
    expect(clock.pending).toBe(1);
  });

  it('that never read are sent a bounded number of bytes and lose the connection; the lease stays', async () => {
    const fake = new FakeClock();
    const { server, tier, port } = await serverOf(LARGE, { clock: fake });
    const { socket } = await rawClient(port);
    socket.pause();
    socket.write(wanted(LARGE));
    let before = -1;
    await vi.waitFor(
      () => {
        const { sentBytes } = server.stats();
        const stands = sentBytes > 0 && sentBytes === before;
        before = sentBytes;
        expect(stands).toBe(true);
      },
      { ...SOON, interval: 20 },
    );
    expect(before).toBeLessThan(LARGE.blocks.length << 20);
    fake.advance(9_999);
    expect(server.stats().timedOut).toBe(0);
    fake.advance(1);
    await vi.waitFor(() => expect(server.stats()).toMatchObject({ connections: 0, timedOut: 1, acknowledged: 0 }), SOON);
    expect(tier.leases).toBe(1);
    fake.advance(30_000);
    expect([tier.leases, tier.leasesExpired]).toEqual([0, 1]);
  });

  it('that go away in the middle leave the lease, and nothing else', async () => {
    const clock = new CountingClock();
    const { server, tier, port } = await serverOf(LARGE, { clock });
    const { socket, heard, listen } = await rawClient(port);
    listen();
    socket.write(wanted(LARGE));
    await vi.waitFor(() => expect(heard.bytes.length).toBeGreaterThan(0), SOON);
    socket.destroy();
    await vi.waitFor(() => expect(server.stats().connections).toBe(0), SOON);
    expect(tier.leases).toBe(1);
    await vi.waitFor(() => expect(clock.pending).toBe(1), SOON);
  });

  it('that do not acknowledge lose the connection; the lease stays', async () => {
    const fake = new FakeClock();
    const { server, tier, port } = await serverOf(CHAIN, { clock: fake });
    const { socket, heard, listen } = await rawClient(port);
    listen();
    socket.write(wanted(CHAIN));
    await vi.waitFor(() => expect(heard.bytes.subarray(-HEADER_BYTES)).toEqual(controlFrame(FRAME.end, 5, 0)), SOON);
    fake.advance(9_999);
    expect(server.stats().timedOut).toBe(0);
    fake.advance(1);
    await vi.waitFor(() => expect(server.stats()).toMatchObject({ connections: 0, timedOut: 1 }), SOON);
    expect(tier.leases).toBe(1);
  });

  it('beyond the allowed number are turned away', async () => {
    const { server, port } = await serverOf(CHAIN, { limits: { maxConnections: 2 } });
    const first = [await rawClient(port), await rawClient(port)];
    await vi.waitFor(() => expect(server.stats().connections).toBe(2), SOON);
    const third = await rawClient(port);
    await vi.waitFor(() => expect(third.heard.closed).toBe(true), SOON);
    expect(first.some((client) => client.heard.closed)).toBe(false);
  });
});

describe('listening', () => {
  it('fails on a taken port', async () => {
    const { port } = await serverOf(CHAIN);
    const second = new TransferServer({
      source: { block: () => null },
      leases: { renew: () => false, release: () => {} },
      clock: systemClock,
      bytesPerSecondPerPeer: null,
    });
    await expect(second.listen({ port })).rejects.toMatchObject({ code: 'EADDRINUSE' });
    await second.close();
  });

  it('ends with all connections when closed, also twice', async () => {
    const clock = new CountingClock();
    const { server, port } = await serverOf(CHAIN, { clock });
    const open: { socket: Socket; heard: { closed: boolean } }[] = [await rawClient(port), await rawClient(port)];
    await vi.waitFor(() => expect(server.stats().connections).toBe(2), SOON);
    await server.close();
    await server.close();
    expect(server.stats().connections).toBe(0);
    await vi.waitFor(() => expect(open.every(({ heard }) => heard.closed)).toBe(true), SOON);
    expect((await pull(requestFor(CHAIN, port).request)).failed).toBe('cannot connect to the peer (ECONNREFUSED)');
  });
});
