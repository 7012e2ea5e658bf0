import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import type { Role } from '../../src/engines/index.ts';
import { createLlamaCppEngine, ensureTinyModel } from '../../src/engines/llamacpp/index.ts';
import { systemClock } from '../../src/shared/index.ts';
import { engineContract } from './engine-contract.ts';
import { moveContract } from './engine-moves.ts';

const folder = mkdtempSync(join(tmpdir(), 'sluice-contract-'));
const modelPath = ensureTinyModel(folder);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const makeCore = (instance: string, role: Role) =>
  createLlamaCppEngine({
    instance,
    role,
    modelName: 'tiny-contract',
    modelPath,
    host: '127.0.0.1',
    contextTokens: 2048,
    maxSequences: 8,
    blockTokens: 16,
    hbmBytes: 64 * 2 ** 20,
    hostBytes: 64 * 2 ** 20,
    leaseMs: 30_000,
    clock: systemClock,
    onWarning: () => {},
  });

engineContract('llamacpp', makeCore);
moveContract('llamacpp', makeCore);
