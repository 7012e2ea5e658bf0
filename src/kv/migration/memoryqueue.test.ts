import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../shared/index.ts';
import { memoryMoveQueue } from './memoryqueue.ts';
import type { Delivery, MoveOrder } from './queue.ts';

const order = (id: string): MoveOrder => ({ id, instance: 'decode-0', session: null, why: 'test', deadlineMs: 1_000 });

function bed(options: { capacity?: number; ackMs?: number; maxAttempts?: number } = {}) {
  const clock = new FakeClock();
  return { clock, queue: memoryMoveQueue({ clock, ...options }), taken: [] as Delivery[] };
}

describe('memoryMoveQueue', () => {
  it('delivers what waited, in turn over its consumers', async () => {
    const { queue } = bed();
    await queue.submit(order('a'));
    const by: string[] = [];
    queue.consume(({ order: { id } }) => by.push(`one ${id}`));
    queue.consume(({ order: { id } }) => by.push(`two ${id}`));
    await queue.submit(order('b'));
    await queue.submit(order('c'));
    expect(by).toEqual(['one a', 'one b', 'two c']);
  });

  it('drops what it had before, also when that is done', async () => {
    const { queue, taken } = bed();
    queue.consume((delivery) => taken.push(delivery));
    expect(await queue.submit(order('a'))).toBe('queued');
    expect(await queue.submit(order('a'))).toBe('duplicate');
    taken[0]?.ack();
    expect(await queue.submit(order('a'))).toBe('duplicate');
    expect(taken).toHaveLength(1);
    expect(queue.pending).toBe(0);
  });

  it('delivers again what nobody settled, and what was refused, but not for ever', async () => {
    const { clock, queue, taken } = bed({ ackMs: 1_000, maxAttempts: 3 });
    queue.consume((delivery) => taken.push(delivery));
    await queue.submit(order('a'));
    clock.advance(1_001);
    taken[1]?.nak();
    // Late word of an earlier delivery.
    taken[0]?.ack();
    expect(queue.pending).toBe(1);
    clock.advance(101);
    expect(taken.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
    clock.advance(60_000);
    expect(taken).toHaveLength(3);
    expect(queue.pending).toBe(0);
  });

  it('takes no more than it has room for', async () => {
    const { queue } = bed({ capacity: 1 });
    expect(await queue.submit(order('a'))).toBe('queued');
    expect(await queue.submit(order('b'))).toBe('full');
  });
});
