/** Looking at the folder while it changes. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { systemClock } from '../../../shared/index.ts';
import { kvBlock } from '../../host/block.ts';
import { type Files, systemFiles } from './files.ts';
import { openFolderStore } from './store.ts';

const folder = mkdtempSync(join(tmpdir(), 'sluice-look-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const blockOf = (digit: string) => kvBlock(digit.repeat(32), null, Int32Array.of(1, 2), new Uint8Array(8));

it('keeps what is written between the list of names and the end of the look', async () => {
  const listed = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  let lists = 0;
  const files: Files = {
    ...systemFiles,
    list: async (path) => {
      const names = await systemFiles.list(path);
      lists += 1;
      if (lists === 2) {
        listed.resolve();
        await goOn.promise;
      }
      return names;
    },
    // The write has looked for itself; the next look has its list before the file has its name.
    write: async (path, bytes) => {
      later += 1_000;
      looked = store.match(['f'.repeat(32)]);
      await listed.promise;
      await systemFiles.write(path, bytes);
    },
  };
  let later = 0;
  let looked: Promise<number> = Promise.resolve(0);
  const clock = { ...systemClock, now: () => systemClock.now() + later };
  const store = await openFolderStore({ path: folder, capacityBytes: 1 << 20, clock, files });
  expect(await store.write([blockOf('a')])).toMatchObject({ written: 1 });
  goOn.resolve();
  await looked;
  expect((await store.usage()).groups).toBe(1);
  await store.close();
});
