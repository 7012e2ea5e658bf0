/** Sessions whose KV lies in the store come back to a busy instance: it is read while they wait in its line, and they keep their place there. */
import { expect, it } from 'vitest';
import { type Arrival, poissonLoad, quantile, simulateArrivals, type Turn } from './returning.ts';

/** 4,096 tokens are 512 MiB: 268 ms at 2 GB/s, or 0.9 s of computing. */
const PARKED = 4_096;
const RATE = 2e9;

const fresh = (atMs: number, tokens = 256, outputTokens = 8): Arrival => ({ atMs, kind: 'fresh', tokens, outputTokens });
const returning = (atMs: number, tokens = PARKED): Arrival => ({ atMs, kind: 'returning', tokens, outputTokens: 8 });
const order = (turns: readonly Turn[]) => turns.map(({ index }) => index);
const turnOf = (turns: readonly Turn[], index: number) => turns.find((turn) => turn.index === index) as Turn;

it('who came first is served first, though what it reads comes later than others', async () => {
  // The first one has the only sequence for two seconds.
  const arrivals = [fresh(0, 256, 64), returning(10), fresh(20), fresh(30), fresh(40)];
  const turns = await simulateArrivals({ sequences: 1, storeBytesPerSecond: RATE }, arrivals);
  expect(order(turns)).toEqual([0, 1, 2, 3, 4]);
  expect(turnOf(turns, 1).report.reused.store).toBe(PARKED);
});

it('whose blocks are still on their way holds up nobody, and comes next when they are there', async () => {
  const arrivals = [fresh(0, 256, 8), returning(10, 8_192), fresh(20, 256, 8), fresh(30, 256, 8), fresh(40, 256, 8), fresh(50, 256, 8)];
  const turns = await simulateArrivals({ sequences: 1, storeBytesPerSecond: RATE }, arrivals);
  const place = order(turns).indexOf(1);
  expect([place > 1, place < 5], `order ${order(turns).join(' ')}`).toEqual([true, true]);
  expect(turnOf(turns, 1).report.reused.store).toBe(8_192);
});

it('of many that come back at once the first have their blocks soon, and none reads in vain', async () => {
  // From the first one it is known what reading costs.
  const arrivals = [returning(0), ...Array.from({ length: 24 }, (_, index) => returning(3_000 + index))];
  const turns = await simulateArrivals({ sequences: 16, storeBytesPerSecond: RATE }, arrivals);
  for (const { report } of turns) expect(report.onboard?.failed ?? null).toBeNull();
  const burst = turns.filter(({ index }) => index > 0);
  // Not when all have theirs.
  expect(turnOf(turns, 1).ttftMs).toBeLessThan(8 * 268);
  const read = burst.filter(({ report }) => report.reused.store > 0).length;
  expect(read).toBeGreaterThan(8);
});

it('under load sessions that come back are sooner there than by computing', async () => {
  const load = { seconds: 20, returnsPerSecond: 1.5, freshPerSecond: 2, parkedTokens: PARKED, freshTokens: 512, outputTokens: 32 };
  for (const seed of [1, 2]) {
    const arrivals = poissonLoad({ ...load, seed });
    const turns = await simulateArrivals({ sequences: 16, storeBytesPerSecond: RATE }, arrivals);
    const without = await simulateArrivals({ sequences: 16, storeBytesPerSecond: 1e6 }, arrivals);
    const p95 = (of: readonly Turn[], kind: Turn['kind']) =>
      quantile(
        of.filter((turn) => turn.kind === kind).map(({ ttftMs }) => ttftMs),
        0.95,
      );
    expect(turns).toHaveLength(arrivals.length);
    expect(p95(turns, 'returning')).toBeLessThan(p95(without, 'returning') / 2);
    expect(p95(turns, 'fresh')).toBeLessThan(p95(without, 'fresh'));
  }
});

it('a busy link does not drive all into computing, which the instance could not keep up with', async () => {
  const load = { seed: 1, seconds: 40, returnsPerSecond: 1, freshPerSecond: 3, parkedTokens: PARKED, freshTokens: 512, outputTokens: 32 };
  const turns = await simulateArrivals({ sequences: 16, storeBytesPerSecond: 0.8e9 }, poissonLoad(load));
  const back = turns.filter(({ kind }) => kind === 'returning');
  expect(back.filter(({ report }) => report.reused.store > 0).length).toBeGreaterThan(back.length / 2);
  expect(Math.max(...turns.map(({ ttftMs }) => ttftMs))).toBeLessThan(6_000);
});
