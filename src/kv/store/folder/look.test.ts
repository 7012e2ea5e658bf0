/** Looking at the folder while it changes. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { systemClock } from '../../../shared/index.ts';
import { type KvBlock, kvBlock } from '../../host/block.ts';
import { type Files, systemFiles } from './files.ts';
import { openFolderStore } from './store.ts';

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-look-'));
  folders.push(folder);
  return folder;
}

const keyOf = (index: number) => index.toString(16).padStart(32, '0');
/** A chain of blocks as small as no engine has them. */
const chainOf = (count: number, first = 1) =>
  Array.from({ length: count }, (_, index) =>
    kvBlock(keyOf(first + index), index === 0 ? null : keyOf(first + index - 1), Int32Array.of(1, 2), new Uint8Array(8)),
  );
const namesOf = (blocks: readonly KvBlock[]) => blocks.map(({ key }) => key);

it('keeps what is written between the list of names and the end of the look', async () => {
  const listed = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  const folder = newFolder();
  let [time, writing] = [0, false];
  const files: Files = {
    ...systemFiles,
    list: async (path) => {
      const names = await systemFiles.list(path);
      if (writing) {
        listed.resolve();
        await goOn.promise;
      }
      return names;
    },
    // The write has looked for itself; the next look has its list before the file has its name.
    write: async (path, bytes) => {
      await systemFiles.write(join(folder, 'notes.txt'), bytes);
      time += 5_000;
      writing = true;
      looked = store.match(['f'.repeat(32)]);
      await listed.promise;
      await systemFiles.write(path, bytes);
    },
  };
  let looked: Promise<number> = Promise.resolve(0);
  const clock = { ...systemClock, now: () => time };
  const store = await openFolderStore({ path: folder, capacityBytes: 1 << 20, clock, files });
  expect(await store.write(chainOf(1))).toMatchObject({ written: 1 });
  goOn.resolve();
  await looked;
  // As of that look: no time has passed since.
  expect((await store.usage()).groups).toBe(1);
  await store.close();
});

it('learns the keys of all groups that are there, of large ones too, with few files open at a time', async () => {
  const path = newFolder();
  const first = await openFolderStore({ path, capacityBytes: 1 << 20, clock: systemClock });
  const chains = [chainOf(3_000), ...Array.from({ length: 40 }, (_, index) => chainOf(1 + index, 10_000 + 100 * index))];
  for (const chain of chains) await first.write(chain);
  await first.close();
  const open = { now: 0, most: 0 };
  const files: Files = {
    ...systemFiles,
    start: async (name, count) => {
      open.now += 1;
      open.most = Math.max(open.most, open.now);
      const start = await systemFiles.start(name, count);
      open.now -= 1;
      return start;
    },
  };
  const again = await openFolderStore({ path, capacityBytes: 1 << 20, clock: systemClock, files });
  for (const chain of chains) expect(await again.match(namesOf(chain))).toBe(chain.length);
  expect(new Set(again.keys(10_000))).toEqual(new Set(chains.flatMap(namesOf)));
  expect(open.most).toBeGreaterThan(1);
  expect(open.most).toBeLessThan(20);
  await again.close();
});
