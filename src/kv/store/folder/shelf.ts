/**
 * Values as files of a folder on disk, which the processes of one machine may share: each keeps its own catalog of it, and looks again when
 * the folder has changed.
 *
 * Invariants
 * - A file is written under a name that nobody reads and then renamed: what has a group's name is whole, unless the machine lost power,
 *   which its checksums tell.
 * - Files with names that are not ours are never touched.
 * - Nothing is waited for synchronously.
 */
import type { Clock } from '../../../shared/index.ts';
import { indexBytes, readGroupHead, readGroupKeys } from '../group.ts';
import type { StoreCondition, StoreUsage } from '../port.ts';
import { type Shelf, type ShelfSave, type ShelfValue, StoreTrouble } from '../shelf.ts';
import { FolderCatalog, type FolderEntry } from './catalog.ts';
import { codeOf, type Files, troubleOf } from './files.ts';

export interface FolderShelfOptions {
  readonly path: string;
  readonly capacityBytes: number;
  /** Bytes of one tenant at most. */
  readonly tenantBytes: number;
  readonly clock: Clock;
  readonly files: Files;
  /** Values at most, however small they are. */
  readonly maxGroups: number;
  /** Sets names of files under way apart from those of other processes. */
  readonly writer: string;
}

/** So long after a look at the soonest, and after a long look so many times longer than that took: a folder with many files costs. */
const LOOK_AGAIN_MS = { least: 25, most: 5_000, timesTaken: 20 } as const;
/** A folder that changed less than that ago may change again without another time: file systems count in ticks. */
const TICK_MS = 20;
/** Names looked at before others get their turn. */
const AT_ONCE = 256;
/** Files that are read at one time. */
const READERS = 8;
/** Holds the keys of nearly every group; more is read where it does not. */
const FIRST_BYTES = indexBytes(64);
/** A file under way for longer belongs to a process that is gone. */
const LEFT_BEHIND_MS = 600_000;
const NAME = /^([0-9a-f]{32}-[0-9a-f]{1,4})(\.pin)?\.kv$/;
const UNDER_WAY = /^\.[0-9a-f-]+\.[\w-]+\.tmp$/;

export class FolderShelf implements Shelf {
  readonly kind = 'folder';
  readonly place: string;
  /** Known when it is open. */
  id = '';
  readonly #options: FolderShelfOptions;
  readonly #catalog = new FolderCatalog();
  #lookAgainAt = Number.NEGATIVE_INFINITY;
  /** Of the folder as the catalog has it; -1: it may have changed. */
  #folderTime = -1;
  #looking: Promise<void> | null = null;
  /** Files of other versions, so that their heads are read once. */
  readonly #foreign = new Set<string>();
  #written = 0;

  constructor(options: FolderShelfOptions) {
    this.#options = options;
    this.place = options.path;
  }

  /** Makes the folder, and learns what is in it. @throws StoreTrouble */
  async open(): Promise<void> {
    await this.#guarded(() => this.#options.files.mkdir(this.place));
    this.id = `folder ${await this.#guarded(() => this.#options.files.identity(this.place))}`;
    await this.#look();
    await this.#guarded(() => this.#makeRoom(0));
  }

  async find(keys: readonly string[]): Promise<readonly (string | null)[]> {
    const ids = () => keys.map((key) => this.#catalog.holder(key));
    if (ids().includes(null)) await this.#lookIfChanged();
    return ids();
  }

  async load(id: string): Promise<Buffer | null> {
    const entry = this.#catalog.get(id);
    if (!entry) return null;
    return this.#guarded(() => this.#options.files.read(this.#pathOf(entry)));
  }

  async touch(ids: readonly string[]): Promise<void> {
    const entries = ids.map((id) => this.#catalog.touch(id)).filter((entry) => entry !== null);
    // Its time is what other processes go by, and this one when it starts again; one that is gone meanwhile needs none.
    for (const entry of entries) await this.#guarded(() => this.#options.files.touch(this.#pathOf(entry), this.#options.clock.wall()));
  }

  async save(value: ShelfValue): Promise<ShelfSave> {
    const { capacityBytes, tenantBytes } = this.#options;
    const size = value.bytes.length;
    await this.#lookIfChanged();
    const own = this.#catalog.victims(size, tenantBytes, value.tenant);
    if (size > capacityBytes || size > tenantBytes || own === null) return { refused: this.#tooLarge(size), evicted: [] };
    const evicted = await this.#guarded(async () => [...(await this.#removeAll(own)), ...(await this.#makeRoom(size))]);
    const entry: FolderEntry = { id: value.id, keys: value.keys, bytes: size, tenant: value.tenant, pinned: value.pinned };
    let notice: StoreCondition | undefined;
    try {
      await this.#write(entry, value.bytes);
    } catch (thrown) {
      if (!isFull(thrown)) throw this.#trouble(thrown);
      // The disk is smaller than the capacity, or others use it: what we hold gives way once.
      const more = await this.#guarded(() => this.#makeRoom(Math.min(capacityBytes, capacityBytes - this.#catalog.usedBytes + size)));
      evicted.push(...more);
      try {
        if (more.length === 0) throw thrown;
        await this.#write(entry, value.bytes);
        notice = troubleOf(thrown, this.place);
      } catch (again) {
        return { refused: troubleOf(again, this.place), evicted };
      }
    }
    this.#catalog.add(entry);
    return { refused: null, evicted, ...(notice ? { notice } : {}) };
  }

  async remove(id: string): Promise<readonly string[]> {
    const entry = this.#catalog.get(id);
    return entry === null ? [] : this.#guarded(() => this.#removeAll([entry]));
  }

  async pin(ids: readonly string[], pinned: boolean): Promise<void> {
    for (const id of ids) {
      const entry = this.#catalog.get(id);
      if (!entry || entry.pinned === pinned) continue;
      const renamed = { ...entry, pinned };
      await this.#guarded(() => this.#options.files.rename(this.#pathOf(entry), this.#pathOf(renamed)));
      this.#catalog.add(renamed);
    }
  }

  async ids(limit: number): Promise<readonly string[]> {
    await this.#lookIfChanged();
    return this.#catalog.ids(limit);
  }

  keys(): Iterable<string> {
    return this.#catalog.keys();
  }

  async usage(): Promise<StoreUsage> {
    await this.#lookIfChanged();
    const { usedBytes, pinnedBytes, size } = this.#catalog;
    return { usedBytes, pinnedBytes, capacityBytes: this.#options.capacityBytes, groups: size };
  }

  async close(): Promise<void> {
    await this.#looking;
  }

  async #write(entry: FolderEntry, bytes: Buffer): Promise<void> {
    this.#written += 1;
    const { files, writer } = this.#options;
    const underWay = `${this.place}/.${entry.id}.${writer}-${this.#written}.tmp`;
    try {
      await files.write(underWay, bytes);
      await files.rename(underWay, this.#pathOf(entry));
    } catch (thrown) {
      await files.remove(underWay).catch(() => undefined); // what was written of it is removed when the folder is opened again
      throw thrown;
    }
  }

  /** Removes what has to go for one value of `bytes` more; keys of its blocks. */
  async #makeRoom(bytes: number): Promise<string[]> {
    const { capacityBytes, maxGroups } = this.#options;
    const crowd = this.#catalog.oldest(this.#catalog.size + 1 - maxGroups);
    return [...(await this.#removeAll(crowd)), ...(await this.#removeAll(this.#catalog.victims(bytes, capacityBytes) ?? []))];
  }

  async #removeAll(entries: readonly FolderEntry[]): Promise<string[]> {
    const keys: string[] = [];
    for (const entry of entries) {
      this.#catalog.remove(entry.id);
      await this.#options.files.remove(this.#pathOf(entry));
      keys.push(...entry.keys.filter((key) => this.#catalog.holder(key) === null));
    }
    return keys;
  }

  async #lookIfChanged(): Promise<void> {
    const { clock, files } = this.#options;
    if (this.#looking) return this.#looking;
    if (clock.now() < this.#lookAgainAt) return;
    this.#lookAgainAt = clock.now() + LOOK_AGAIN_MS.least;
    const time = await this.#guarded(() => files.time(this.place));
    if (time !== this.#folderTime) await this.#look();
  }

  /** Brings the catalog in step with the folder. One at a time. */
  #look(): Promise<void> {
    this.#looking ??= this.#guarded(() => this.#readFolder()).finally(() => {
      this.#looking = null;
    });
    return this.#looking;
  }

  async #readFolder(): Promise<void> {
    const { files, clock, maxGroups } = this.#options;
    const startedAt = clock.now();
    const time = await files.time(this.place);
    this.#folderTime = clock.wall() - time > TICK_MS ? time : -1;
    // What is written from here on may not be in the list, and is there all the same.
    const before = this.#catalog.ids(Number.POSITIVE_INFINITY);
    const names = await files.list(this.place);
    const there = new Set<string>();
    const unknown: FileName[] = [];
    for (const [index, name] of names.entries()) {
      // The rest is looked at when room was made of these.
      if (there.size >= 2 * maxGroups) break;
      if (index % AT_ONCE === AT_ONCE - 1) await nextTurn();
      const [, id, pin] = NAME.exec(name) ?? [];
      if (id === undefined) {
        await this.#sweep(name);
        continue;
      }
      there.add(id);
      const pinned = pin !== undefined;
      if (!this.#foreign.has(name) && this.#catalog.get(id)?.pinned !== pinned) unknown.push({ name, id, pinned });
    }
    const fresh = await this.#readEntries(unknown);
    for (const id of before) if (!there.has(id)) this.#catalog.remove(id);
    for (const [index, { entry }] of fresh.toSorted((a, b) => a.time - b.time).entries()) {
      if (index % AT_ONCE === AT_ONCE - 1) await nextTurn();
      this.#catalog.add(entry);
    }
    for (const name of this.#foreign) if (!there.has(NAME.exec(name)?.[1] ?? '')) this.#foreign.delete(name);
    const tookMs = clock.now() - startedAt;
    this.#lookAgainAt = clock.now() + Math.min(LOOK_AGAIN_MS.most, Math.max(LOOK_AGAIN_MS.least, LOOK_AGAIN_MS.timesTaken * tookMs));
  }

  async #readEntries(names: readonly FileName[]): Promise<readonly ReadEntry[]> {
    const entries: ReadEntry[] = [];
    const left = names.values();
    const readOn = async () => {
      for (const name of left) {
        const entry = await this.#readEntry(name);
        if (entry) entries.push(entry);
      }
    };
    await Promise.all(Array.from({ length: READERS }, readOn));
    return entries;
  }

  async #readEntry({ name, id, pinned }: FileName): Promise<ReadEntry | null> {
    const { files } = this.#options;
    const path = `${this.place}/${name}`;
    let start = await files.start(path, FIRST_BYTES);
    if (start === null) return null;
    const head = readGroupHead(start.bytes);
    if ('why' in head && head.version) {
      // Other versions' files stay as they are.
      this.#foreign.add(name);
      return null;
    }
    const { count, tenant } = 'why' in head ? { count: 0, tenant: '' } : head;
    if (indexBytes(count) > FIRST_BYTES) start = (await files.start(path, indexBytes(count))) ?? start;
    // Damaged ones are found when they are read; they count, so that they go one day.
    const whole = count > 0 && start.bytes.length >= indexBytes(count);
    const keys = whole ? readGroupKeys(start.bytes, count) : [id.slice(0, 32)];
    return { entry: { id, keys, bytes: start.size, tenant, pinned }, time: start.time };
  }

  async #sweep(name: string): Promise<void> {
    const { files, clock } = this.#options;
    if (!UNDER_WAY.test(name)) return;
    const path = `${this.place}/${name}`;
    const start = await files.start(path, 0);
    if (start !== null && start.time < clock.wall() - LEFT_BEHIND_MS) await files.remove(path);
  }

  #pathOf({ id, pinned }: FolderEntry): string {
    return `${this.place}/${id}${pinned ? '.pin' : ''}.kv`;
  }

  #tooLarge(size: number): StoreCondition {
    const { capacityBytes, tenantBytes } = this.#options;
    if (size <= capacityBytes) {
      return {
        reason: 'OverQuota',
        message: `${size} bytes are more than one tenant may have (${tenantBytes}): raise kv.store.tenantShare`,
      };
    }
    return { reason: 'Full', message: `a group of ${size} bytes is larger than the whole store (${capacityBytes}): raise its capacity` };
  }

  async #guarded<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (thrown) {
      throw this.#trouble(thrown);
    }
  }

  #trouble(thrown: unknown): StoreTrouble {
    return thrown instanceof StoreTrouble ? thrown : new StoreTrouble(troubleOf(thrown, this.place), thrown);
  }
}

interface FileName {
  readonly name: string;
  readonly id: string;
  readonly pinned: boolean;
}

interface ReadEntry {
  readonly entry: FolderEntry;
  readonly time: number;
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function isFull(thrown: unknown): boolean {
  return ['ENOSPC', 'EDQUOT'].includes(codeOf(thrown) ?? '');
}
