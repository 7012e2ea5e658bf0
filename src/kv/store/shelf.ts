/** What keeps values (groups of blocks) for a store: the part that differs between a disk and a server. */
import type { StoreCondition, StoreUsage } from './port.ts';

export interface ShelfValue {
  readonly id: string;
  /** Of its blocks, in chain order. */
  readonly keys: readonly string[];
  readonly bytes: Buffer;
  /** `tenantTag` of whose it is. */
  readonly tenant: string;
  readonly pinned: boolean;
}

export interface ShelfSave {
  /** Null = it is there now. */
  readonly refused: StoreCondition | null;
  /** It is there, but not all is well; absent: all is. */
  readonly notice?: StoreCondition;
  /** Keys of blocks that were given up for it. */
  readonly evicted: readonly string[];
}

/** Calls reject with `StoreTrouble` alone. */
export interface Shelf {
  readonly kind: 'folder' | 'redis';
  readonly place: string;
  /** Shelves of one id hold the same values. */
  readonly id: string;
  /** The id of the value that holds each key; null = none. As long as `keys`. */
  find(keys: readonly string[]): Promise<readonly (string | null)[]>;
  /** Null = it is gone. */
  load(id: string): Promise<Buffer | null>;
  /** Counts the values as just used, in this order. */
  touch(ids: readonly string[]): Promise<void>;
  save(value: ShelfValue): Promise<ShelfSave>;
  /** Also what is left of one that is gone. Keys of blocks that are not there any more. */
  remove(id: string): Promise<readonly string[]>;
  pin(ids: readonly string[], pinned: boolean): Promise<void>;
  ids(limit: number): Promise<readonly string[]>;
  usage(): Promise<StoreUsage>;
  /** Of blocks that are known to be there from the start; absent: nobody knows without asking. */
  keys?(): Iterable<string>;
  close(): Promise<void>;
}

/** Why a shelf could not do what it was asked. */
export class StoreTrouble extends Error {
  readonly condition: StoreCondition;

  constructor(condition: StoreCondition, cause?: unknown) {
    super(condition.message, cause === undefined ? undefined : { cause });
    this.name = 'StoreTrouble';
    this.condition = condition;
  }
}
