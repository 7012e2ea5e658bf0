import { afterEach, expect, it, vi } from 'vitest';
import { FakeClock, systemClock } from '../../shared/index.ts';
import { TransferPool } from './pool.ts';
import { answeringPeer, answerOf, areFirst, CountingClock, chainOf, endAll, rawPeer, requestFor, SOON } from './transfer.fixture.ts';

afterEach(endAll);

const CHAIN = chainOf(3);

it('pulls from one peer in turns and from others at the same time', async () => {
  const asked: (() => void)[] = [];
  const slow = await rawPeer((socket) => socket.once('data', () => asked.push(() => socket.end(answerOf(CHAIN)))));
  const quick = await answeringPeer(() => answerOf(CHAIN));
  const pool = new TransferPool({ clock: systemClock, bytesPerSecondPerPeer: null, pullsPerPeer: 2 });
  const pulls = Array.from({ length: 5 }, () => requestFor(CHAIN, slow.port));
  const running = pulls.map(({ request }) => pool.pull(request));
  expect(await pool.pull(requestFor(CHAIN, quick.port).request)).toMatchObject({ blocks: 3, failed: null });
  for (let done = 0; done < 5; done++) {
    await vi.waitFor(() => expect(asked.length).toBeGreaterThan(done), SOON);
    expect(slow.accepted).toBeLessThanOrEqual(done + 2);
    asked[done]?.();
    await running[done];
  }
  expect((await Promise.all(running)).every((result) => result.failed === null)).toBe(true);
  expect(pulls.every(({ pulled }) => areFirst(pulled, CHAIN, 3))).toBe(true);
  expect(pool.size).toBe(0);
});

it('ends a pull that waits by its deadline, its signal, or at once when too many wait', async () => {
  const fake = new FakeClock();
  const clock = new CountingClock(fake);
  const peer = await rawPeer((socket) => socket.on('data', () => {}));
  const pool = new TransferPool({ clock, bytesPerSecondPerPeer: null, pullsPerPeer: 1, maxWaiting: 2 });
  const controller = new AbortController();
  const first = pool.pull(requestFor(CHAIN, peer.port, { deadlineMs: 300 }).request);
  const late = pool.pull(requestFor(CHAIN, peer.port, { deadlineMs: 200 }).request);
  const cancelled = pool.pull(requestFor(CHAIN, peer.port, { signal: controller.signal }).request);
  expect((await pool.pull(requestFor(CHAIN, peer.port).request)).failed).toBe('2 other pulls wait already');
  await vi.waitFor(() => expect(peer.accepted).toBe(1), SOON);
  controller.abort();
  expect((await cancelled).failed).toBe('cancelled after 0 of 3 blocks');
  expect((await pool.pull(requestFor(CHAIN, peer.port, { signal: controller.signal }).request)).failed).toBe(
    'cancelled after 0 of 3 blocks',
  );
  fake.advance(200);
  expect(await late).toEqual({ blocks: 0, bytes: 0, ms: 200, failed: 'deadline of 200 ms passed while other pulls from this peer ran' });
  fake.advance(100);
  expect((await first).failed).toBe('deadline of 300 ms passed after 0 of 3 blocks');
  expect([pool.size, clock.pending]).toEqual([0, 0]);
});

it('counts waiting for a turn against the deadline', async () => {
  const fake = new FakeClock();
  const peer = await rawPeer((socket) => socket.on('data', () => {}));
  const pool = new TransferPool({ clock: fake, bytesPerSecondPerPeer: null, pullsPerPeer: 1 });
  const first = pool.pull(requestFor(CHAIN, peer.port, { deadlineMs: 100 }).request);
  const second = pool.pull(requestFor(CHAIN, peer.port, { deadlineMs: 150 }).request);
  await vi.waitFor(() => expect(peer.accepted).toBe(1), SOON);
  fake.advance(100);
  await first;
  await vi.waitFor(() => expect(peer.accepted).toBe(2), SOON);
  fake.advance(50);
  expect(await second).toMatchObject({ ms: 150, failed: 'deadline of 50 ms passed after 0 of 3 blocks' });
});

it('goes on after a pull that threw', async () => {
  const peer = await answeringPeer(() => answerOf(CHAIN));
  const pool = new TransferPool({ clock: systemClock, bytesPerSecondPerPeer: 1e9, pullsPerPeer: 1 });
  await expect(pool.pull(requestFor(CHAIN, peer.port, { lease: '' }).request)).rejects.toThrow('lease');
  expect(await pool.pull(requestFor(CHAIN, peer.port).request)).toMatchObject({ blocks: 3, failed: null });
  expect(pool.size).toBe(0);
});

it('names a wrong limit', () => {
  expect(() => new TransferPool({ clock: systemClock, bytesPerSecondPerPeer: null, pullsPerPeer: 0 })).toThrow('pullsPerPeer');
  expect(() => new TransferPool({ clock: systemClock, bytesPerSecondPerPeer: 0 })).toThrow('bytesPerSecond');
});
