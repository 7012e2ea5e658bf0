import { memorySharedDirectory } from '../../src/kv/index.ts';
import { FakeClock } from '../../src/shared/index.ts';
import { type OpenEmpty, sharedDirectoryContract } from './directory-contract.ts';
import { directoryHistories } from './directory-histories.ts';

const open: OpenEmpty = async (setup = {}) => {
  const clock = new FakeClock();
  const directory = memorySharedDirectory({ clock, ...setup });
  return { directory, other: directory, pass: async (ms) => clock.advance(ms) };
};

sharedDirectoryContract('memory', open);
directoryHistories('memory', open, 500);
