import { FakeClock } from '../../shared/index.ts';
import { memoryMoveQueue } from './memoryqueue.ts';
import { moveQueueContract } from './queue.contract.ts';

moveQueueContract('in memory', async (limits) => {
  const clock = new FakeClock();
  return { queue: memoryMoveQueue({ clock, ...limits }), advance: async (ms) => clock.advance(ms), close: async () => undefined };
});
