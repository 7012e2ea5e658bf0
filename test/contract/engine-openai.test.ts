import { createSimEngine } from '../../src/engines/index.ts';
import { systemClock } from '../../src/shared/index.ts';
import { engineContract } from './engine-contract.ts';

engineContract('sim', (instance, role) =>
  createSimEngine({ instance, role, modelName: 'sim-contract', clock: systemClock, costs: { stepFixed: 1 } }),
);
