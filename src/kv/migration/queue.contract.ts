/** What every `MoveQueue` promises. */
import { describe, expect, it } from 'vitest';
import type { Delivery, MoveOrder, MoveQueue } from './queue.ts';

export interface MoveQueueLimits {
  readonly capacity: number;
  readonly ackMs: number;
  readonly maxAttempts: number;
}

export interface MoveQueueBed {
  readonly queue: MoveQueue;
  /** Lets so much time pass for the queue. */
  readonly advance: (ms: number) => Promise<void>;
  readonly close: () => Promise<void>;
}

const LIMITS: MoveQueueLimits = { capacity: 3, ackMs: 1_000, maxAttempts: 3 };
/** Longer than any queue waits before it delivers again what was refused. */
const SOON_MS = 500;

const order = (id: string): MoveOrder => ({ id, instance: 'decode-0', why: 'test', deadlineMs: 1_000 });

export function moveQueueContract(name: string, open: (limits: MoveQueueLimits) => Promise<MoveQueueBed>): void {
  const run = async (test: (bed: MoveQueueBed) => Promise<void>) => {
    const bed = await open(LIMITS);
    try {
      await test(bed);
    } finally {
      await bed.close();
    }
  };

  describe(`${name}: a queue of move orders`, () => {
    it('delivers each order to one consumer, those that waited too', () =>
      run(async ({ queue, advance }) => {
        await queue.submit(order('a'));
        const by: string[] = [];
        queue.consume(({ order: { id }, ack }) => {
          by.push(id);
          ack();
        });
        const stop = queue.consume(({ order: { id }, ack }) => {
          by.push(id);
          ack();
        });
        await queue.submit(order('b'));
        await queue.submit(order('c'));
        stop();
        await queue.submit(order('d'));
        await advance(SOON_MS);
        expect(by.toSorted()).toEqual(['a', 'b', 'c', 'd']);
        expect(queue.pending).toBe(0);
      }));

    it('drops what it had before, also when that is done', () =>
      run(async ({ queue, advance }) => {
        const taken: Delivery[] = [];
        queue.consume((delivery) => taken.push(delivery));
        expect(await queue.submit(order('a'))).toBe('queued');
        expect(await queue.submit(order('a'))).toBe('duplicate');
        await advance(SOON_MS);
        taken[0]?.ack();
        expect(await queue.submit(order('a'))).toBe('duplicate');
        expect(taken).toHaveLength(1);
      }));

    it('delivers again what nobody settled, and what was refused, but not for ever', () =>
      run(async ({ queue, advance }) => {
        const taken: Delivery[] = [];
        queue.consume((delivery) => taken.push(delivery));
        await queue.submit(order('a'));
        await advance(LIMITS.ackMs + SOON_MS);
        taken[1]?.nak();
        // Late word of an earlier delivery.
        taken[0]?.ack();
        expect(queue.pending).toBe(1);
        await advance(SOON_MS);
        expect(taken.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
        await advance(4 * LIMITS.ackMs);
        expect(taken).toHaveLength(3);
        expect(queue.pending).toBe(0);
      }));

    it('takes no more than it has room for', () =>
      run(async ({ queue }) => {
        for (const id of ['a', 'b', 'c']) expect(await queue.submit(order(id))).toBe('queued');
        expect(await queue.submit(order('d'))).toBe('full');
      }));
  });
}
