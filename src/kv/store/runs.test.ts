import { expect, it } from 'vitest';
import { kvBlock } from '../host/block.ts';
import { decodeGroup, encodeGroup } from './group.ts';
import { chainRuns, GROUP_BYTES } from './runs.ts';

it('never cuts a run that could not be read back, however small its blocks are', () => {
  const keyOf = (index: number) => index.toString(16).padStart(32, '0');
  const blocks = Array.from({ length: 10_000 }, (_, index) =>
    kvBlock(keyOf(index), index === 0 ? null : keyOf(index - 1), Int32Array.of(index), new Uint8Array(16)),
  );
  const runs = chainRuns(blocks, GROUP_BYTES.wanted);
  expect(runs.flat()).toEqual(blocks);
  for (const run of runs) expect(decodeGroup(encodeGroup(run, '0'.repeat(16)))).toMatchObject({ blocks: { length: run.length } });
});
