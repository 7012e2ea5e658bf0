import { memoryEventBus } from '../../src/kv/index.ts';
import { systemClock } from '../../src/shared/index.ts';
import { eventBusContract } from './events-contract.ts';

eventBusContract('memory', async (setup = {}) => {
  const bus = memoryEventBus({ clock: systemClock, ...setup });
  return { bus, other: bus };
});
