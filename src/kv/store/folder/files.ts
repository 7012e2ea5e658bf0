/** The few things that are done with files, and what it means when they fail. */
import { constants } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import type { StoreCondition } from '../port.ts';

/** All asynchronous; reject with the system's error. */
export interface Files {
  mkdir(path: string): Promise<void>;
  list(path: string): Promise<readonly string[]>;
  /** The same for one folder, by whatever path and from whatever process of this machine; of another machine's it is another. */
  identity(path: string): Promise<string>;
  /** Changes when names in the folder do. */
  time(path: string): Promise<number>;
  /** The first `count` bytes (fewer when it is shorter), its size and time; null = it is not there. */
  start(path: string, count: number): Promise<{ readonly bytes: Buffer; readonly size: number; readonly time: number } | null>;
  /** Null = it is not there. */
  read(path: string): Promise<Buffer | null>;
  write(path: string, bytes: Buffer): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** One that is not there is removed already. */
  remove(path: string): Promise<void>;
  touch(path: string, wallMs: number): Promise<void>;
}

export const systemFiles: Files = {
  mkdir: async (path) => {
    await mkdir(path, { recursive: true, mode: 0o700 });
    // A folder that cannot be written to is found now, not at the first eviction.
    const probe = `${path}/.writable-${process.pid}`;
    await writeFile(probe, '', { mode: 0o600 });
    await rm(probe, { force: true });
  },
  list: (path) => readdir(path),
  identity: async (path) => {
    const { dev, ino } = await stat(path, { bigint: true });
    return `${hostname()} ${dev}-${ino}`;
  },
  time: async (path) => (await stat(path)).mtimeMs,
  start: (path, count) =>
    orNull(async () => {
      const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
      try {
        const { size, mtimeMs } = await file.stat();
        const { buffer, bytesRead } = await file.read(Buffer.alloc(count), 0, count, 0);
        return { bytes: buffer.subarray(0, bytesRead), size, time: mtimeMs };
      } finally {
        await file.close();
      }
    }),
  read: (path) => orNull(() => readFile(path)),
  write: (path, bytes) => writeFile(path, bytes, { flag: 'wx', mode: 0o600 }),
  rename: (from, to) => rename(from, to),
  remove: (path) => rm(path, { force: true }),
  touch: async (path, wallMs) => {
    await orNull(() => utimes(path, wallMs / 1000, wallMs / 1000));
  },
};

async function orNull<T>(work: () => Promise<T>): Promise<T | null> {
  try {
    return await work();
  } catch (thrown) {
    if (codeOf(thrown) === 'ENOENT') return null;
    throw thrown;
  }
}

/** The system's error code, such as `ENOSPC`. */
export function codeOf(thrown: unknown): string | null {
  return thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : null;
}

export function troubleOf(thrown: unknown, place: string): StoreCondition {
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  switch (codeOf(thrown)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return {
        reason: 'DiskFull',
        message: `the disk of ${place} has no room, whatever the store's capacity says: free some, or lower the capacity (${text})`,
      };
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return { reason: 'Denied', message: `${place} cannot be written: give this user the right to, or another path (${text})` };
    default:
      return { reason: 'Unavailable', message: `${place} does not work: ${text}` };
  }
}
