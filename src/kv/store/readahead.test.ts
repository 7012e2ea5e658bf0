import { expect, it } from 'vitest';
import { FakeClock } from '../../shared/index.ts';
import { ReadAhead, type Turn } from './readahead.ts';

interface Reader {
  turn: Turn | null | undefined;
  readonly leave: AbortController;
}

/** Two read at a time, 100 bytes are held. */
function scene(readers = 2) {
  const clock = new FakeClock();
  const ahead = new ReadAhead({ clock, readers, budgetBytes: 100 });
  const enter = (bytes: number, withinMs = 1_000): Reader => {
    const reader: Reader = { turn: undefined, leave: new AbortController() };
    void ahead.enter(bytes, withinMs, reader.leave.signal).then((turn) => {
      reader.turn = turn;
    });
    return reader;
  };
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  /** R: reads or did; w: waits; x: will not. */
  const states = async (...all: readonly Reader[]) => {
    await settled();
    return all.map(({ turn }) => (turn === undefined ? 'w' : turn === null ? 'x' : 'R')).join('');
  };
  return { clock, ahead, enter, states };
}

it('lets a few read, the first first', async () => {
  const { ahead, enter, states } = scene();
  const [a, b, c, d] = [enter(10), enter(10), enter(10), enter(10)];
  expect(await states(a, b, c, d)).toBe('RRww');
  expect(ahead.ahead).toEqual([10, 10, 10, 10]);
  b.turn?.done(10);
  expect(await states(a, b, c, d)).toBe('RRRw');
  a.turn?.done(5);
  expect(await states(a, b, c, d)).toBe('RRRR');
  expect([ahead.ahead, ahead.heldBytes]).toEqual([[10, 10], 35]);
});

it('reads no more than the budget before it is used, but for one that is larger alone', async () => {
  const { ahead, enter, states } = scene();
  const [a, b, c] = [enter(60), enter(60), enter(10)];
  a.turn?.done(60);
  expect(await states(a, b, c)).toBe('Rww');
  a.turn?.done(60);
  expect(await states(a, b, c)).toBe('Rww');
  a.turn?.leave();
  expect(await states(a, b, c)).toBe('RRR');
  for (const { turn } of [b, c]) turn?.leave();
  const large = enter(1_000);
  expect(await states(large)).toBe('R');
  large.turn?.leave();
  large.turn?.leave();
  expect([ahead.ahead, ahead.heldBytes]).toEqual([[], 0]);
});

it('gives up whose request is gone, or who waited too long, and lets the next one', async () => {
  const { clock, ahead, enter, states } = scene(1);
  const [a, b, c, d] = [enter(10), enter(20, 50), enter(30), enter(40)];
  clock.advance(50);
  c.leave.abort();
  expect(await states(a, b, c, d)).toBe('Rxxw');
  expect(ahead.ahead).toEqual([10, 40]);
  a.turn?.leave();
  expect(await states(d)).toBe('R');
  const late = enter(10);
  late.leave.abort();
  expect(await states(late)).toBe('x');
  d.turn?.leave();
  expect([ahead.ahead, ahead.heldBytes]).toEqual([[], 0]);
});
