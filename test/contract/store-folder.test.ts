/** The contract on a folder, and what only a disk does. */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type BlockStore, openFolderStore } from '../../src/kv/index.ts';
import { systemClock } from '../../src/shared/index.ts';
import { SKEW_MS, skewed } from './skewed.ts';
import { chainOf, SETUP, storeContract, wanted } from './store-contract.ts';

const folders: string[] = [];
const stores: BlockStore[] = [];

afterAll(async () => {
  await Promise.all(stores.map((store) => store.close()));
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-store-'));
  folders.push(folder);
  return folder;
}

async function openIn(path: string, setup: object = {}): Promise<BlockStore> {
  const store = await openFolderStore({ path, clock: systemClock, ...SETUP, ...setup });
  stores.push(store);
  return store;
}

storeContract('A folder', async (setup = {}) => {
  const path = newFolder();
  return {
    store: await openIn(path, { clock: skewed(SKEW_MS), ...setup }),
    other: await openIn(path, { clock: skewed(-SKEW_MS), ...setup }),
    seen: () => new Promise((resolve) => setTimeout(resolve, 260)),
    damage: async (change) => {
      const names = readdirSync(path).filter((name) => name.endsWith('.kv'));
      for (const name of names) writeFileSync(join(path, name), change(readFileSync(join(path, name))));
      return names.length;
    },
  };
});

describe('a folder', () => {
  it('has after a restart what it had, and in which order it goes', async () => {
    const path = newFolder();
    const [old, young] = [chainOf(1, 16), chainOf(2, 16)];
    const first = await openIn(path);
    await first.write(old.blocks, { pinned: true });
    await first.write(young.blocks);
    await first.close();
    const again = await openIn(path, { capacityBytes: 2 << 20 });
    expect(again.keys(100)).toHaveLength(32);
    expect(await again.match(old.keys)).toBe(16);
    expect((await again.read(wanted(young))).blocks).toHaveLength(16);
    await again.write(chainOf(3, 48).blocks);
    expect(await again.match(old.keys)).toBe(16);
    expect(await again.match(young.keys)).toBe(0);
  });

  it('makes room when it is opened with fewer bytes', async () => {
    const path = newFolder();
    const first = await openIn(path);
    await first.write(chainOf(4, 64).blocks);
    const smaller = await openIn(path, { capacityBytes: 1 << 20 });
    expect((await smaller.usage()).usedBytes).toBeLessThanOrEqual(1 << 20);
  });

  it('removes what a dead writer left half done, and nothing that is not its own', async () => {
    const path = newFolder();
    const chain = chainOf(5, 4);
    const [left, recent, foreign] = [`.${chain.keys[0]}-4.dead-1.tmp`, `.${chain.keys[0]}-4.busy-1.tmp`, 'notes.txt'];
    for (const name of [left, recent, foreign]) writeFileSync(join(path, name), 'x');
    utimesSync(join(path, left), 1, 1);
    const store = await openIn(path);
    await store.write(chain.blocks);
    expect(readdirSync(path).toSorted()).toEqual([recent, `${chain.keys[3]}-4.kv`, foreign].toSorted());
  });

  it('says at once which folder cannot be used, and which option is wrong', async () => {
    const path = newFolder();
    writeFileSync(join(path, 'file'), '');
    await expect(openIn(join(path, 'file/store'))).rejects.toThrow(/file\/store does not work.*ENOTDIR/);
    await expect(openIn('relative')).rejects.toThrow('path: expected an absolute path, got "relative"');
    await expect(openIn(path, { capacityBytes: 1 })).rejects.toThrow('capacityBytes: expected 1 MiB or more, got 1');
    await expect(openIn(path, { tenantShare: 0 })).rejects.toThrow('tenantShare: expected more than 0 and at most 1, got 0');
  });
});

/** A disk of its own, which is small. Needs root, as CI and images have it. */
function smallDisk(mebibytes: number): string | null {
  if (process.getuid?.() !== 0) return null;
  const folder = newFolder();
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'sluice-test', folder], { stdio: 'ignore' });
  } catch {
    return null; // a container without the right to mount
  }
  return folder;
}

/** Until no byte more fits. */
function fill(path: string): void {
  const file = openSync(path, 'w');
  try {
    for (let piece = 0; piece < 4096; piece++) writeSync(file, Buffer.alloc(4096));
  } catch {
    // full, as was wanted
  } finally {
    closeSync(file);
  }
}

describe('a disk that is full', () => {
  const disk = smallDisk(2);
  afterAll(() => {
    if (disk !== null) execFileSync('umount', [disk], { stdio: 'ignore' });
  });

  it.skipIf(disk === null)('is a condition, loses nothing that is stored, and is used again when there is room', async () => {
    const path = join(disk as string, 'store');
    const store = await openIn(path, { pauseMs: 50 });
    const kept = chainOf(6, 16);
    await store.write(kept.blocks);
    writeFileSync(join(disk as string, 'others'), Buffer.alloc(1_400_000));
    // What we hold gives way, and it is said why.
    const big = chainOf(7, 32);
    expect((await store.write(big.blocks)).written).toBe(32);
    expect(store.condition()).toMatchObject({ reason: 'DiskFull' });
    expect(store.condition().message).toMatch(/has no room.*free some, or lower the capacity.*ENOSPC/);
    expect(readdirSync(path).filter((name) => name.endsWith('.tmp'))).toEqual([]);
    const verdict = await store.verify(100);
    expect(verdict.bad).toEqual([]);
    const used = (await store.usage()).usedBytes;
    expect(used).toBeLessThan(700_000);
    // With a disk that others filled, and nothing of ours to give way, blocks are dropped.
    for (const name of readdirSync(path)) rmSync(join(path, name));
    fill(join(disk as string, 'rest'));
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await store.write(chainOf(9, 4).blocks)).toMatchObject({ written: 0, dropped: 4 });
    expect(store.condition()).toMatchObject({ reason: 'DiskFull' });
    expect(readdirSync(path)).toEqual([]);
    for (const name of ['others', 'rest']) rmSync(join(disk as string, name));
    await expect.poll(async () => (await store.write(chainOf(8, 4).blocks)).written, { timeout: 5_000 }).toBe(4);
    expect(store.condition().reason).toBe('Ready');
  });
});
