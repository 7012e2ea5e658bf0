import { createSimEngine, type Role } from '../../src/engines/index.ts';
import { systemClock } from '../../src/shared/index.ts';
import { engineContract } from './engine-contract.ts';
import { moveContract } from './engine-moves.ts';
import { pinContract } from './engine-pins.ts';

const simulated = (stepFixed: number) => (instance: string, role: Role) =>
  createSimEngine({ instance, role, modelName: 'sim-contract', clock: systemClock, costs: { stepFixed } });

engineContract('sim', simulated(1));
// Slow enough to be moved before its end.
moveContract('sim', 200, simulated(4));
pinContract('sim', 4_096, (instance, role, small) =>
  createSimEngine({ instance, role, modelName: 'sim-pins', clock: systemClock, contextTokens: 512, ...small }),
);
