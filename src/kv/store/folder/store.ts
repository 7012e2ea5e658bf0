/** A store in a folder on disk. */
import { randomBytes } from 'node:crypto';
import { isAbsolute } from 'node:path';
import { GroupedStore, type GroupedStoreOptions } from '../grouped.ts';
import type { BlockStore } from '../port.ts';
import { type Files, systemFiles } from './files.ts';
import { FolderShelf } from './shelf.ts';

export interface FolderStoreOptions extends GroupedStoreOptions {
  /** Absolute. Made when it is not there. */
  readonly path: string;
  /**
   * Bytes of all groups at most, 1 MiB or more. With several writers it may be passed by what they write until each looks again: 25 ms, or
   * 20 times what looking takes, at most 5 s.
   */
  readonly capacityBytes: number;
  /** Groups at most, each a file of which this process remembers the keys. Default 65,536. */
  readonly maxGroups?: number;
  /** Share of the capacity that one tenant may have, more than 0 to 1. Default 1. */
  readonly tenantShare?: number;
  readonly files?: Files;
}

/**
 * @throws RangeError naming the option that is wrong.
 * @throws StoreTrouble when the folder cannot be made, read or written.
 */
export async function openFolderStore(options: FolderStoreOptions): Promise<BlockStore> {
  const { path, capacityBytes, maxGroups = 65_536, tenantShare = 1, files = systemFiles, clock } = options;
  if (!isAbsolute(path)) throw new RangeError(`path: expected an absolute path, got ${JSON.stringify(path)}`);
  if (!(capacityBytes >= 1 << 20)) throw new RangeError(`capacityBytes: expected 1 MiB or more, got ${capacityBytes}`);
  if (!(Number.isInteger(maxGroups) && maxGroups >= 1))
    throw new RangeError(`maxGroups: expected a whole number of 1 or more, got ${maxGroups}`);
  if (!(tenantShare > 0 && tenantShare <= 1)) throw new RangeError(`tenantShare: expected more than 0 and at most 1, got ${tenantShare}`);
  const tenantBytes = Math.floor(capacityBytes * tenantShare);
  const shelf = new FolderShelf({ path, capacityBytes, maxGroups, tenantBytes, clock, files, writer: randomBytes(4).toString('hex') });
  await shelf.open();
  const store = new GroupedStore(shelf, options);
  await store.learn();
  return store;
}
