import { afterAll } from 'vitest';
import type { Role } from '../../src/engines/index.ts';
import { BLOCK_BYTES, TinyEngines } from '../../src/engines/llamacpp/tinyengines.fixture.ts';
import { engineContract } from './engine-contract.ts';
import { moveContract } from './engine-moves.ts';
import { pinContract } from './engine-pins.ts';

const engines = new TinyEngines({ modelName: 'tiny-contract', maxSequences: 8, hbmBytes: 64 * 2 ** 20 });
afterAll(() => engines.closeAll());

const makeCore = (instance: string, role: Role) => engines.open(instance, { role });

engineContract('llamacpp', makeCore);
moveContract('llamacpp', 800, makeCore);
pinContract('llamacpp', BLOCK_BYTES, (instance, role, small) =>
  engines.open(instance, { role, maxSequences: 2, contextTokens: 512, ...small }),
);
