/**
 * A store on a shelf: cuts blocks into groups, writes what is new, verifies what it reads, and keeps trouble from its callers.
 *
 * Invariants
 * - Values are written one after the other, and the end of a chain before its start, so that the end is the older one.
 * - At most `maxPendingBytes` wait to be written; more is dropped and counted.
 * - After trouble with the shelf nothing is written for `pauseMs`, nor read when nobody answers: a full disk or a dead server is not asked
 *   again for every block.
 */
import { type Clock, sleep } from '../../shared/index.ts';
import { holdsTokens, type KvBlock } from '../host/block.ts';
import { TokenBucket } from '../transfer/budget.ts';
import { decodeGroup, encodeGroup, groupId, tenantTag, type Unreadable } from './group.ts';
import { KnownKeys } from './known.ts';
import type {
  BlockStore,
  StoreChange,
  StoreCondition,
  StoreCounters,
  StoreRead,
  StoreReadRequest,
  StoreUsage,
  StoreVerdict,
  StoreWriteOptions,
  StoreWritten,
} from './port.ts';
import { chainRuns, GROUP_BYTES } from './runs.ts';
import { type Shelf, type ShelfValue, StoreTrouble } from './shelf.ts';

export interface GroupedStoreOptions {
  readonly clock: Clock;
  /** KV bytes of a group at most. Default 512 KiB. */
  readonly groupBytes?: number;
  /** Default 64 MiB. */
  readonly maxPendingBytes?: number;
  /** Default 5,000. */
  readonly pauseMs?: number;
  /** Byte budget of the way there, each direction for itself; default: none. */
  readonly bytesPerSecond?: number | null;
}

/** Keys, before others get their turn. */
const LEARNT_AT_ONCE = 4_096;
const READY: StoreCondition = { reason: 'Ready', message: 'all is well' };
const NO_WRITE: StoreWritten = { written: 0, known: 0, dropped: 0, bytes: 0, copies: 0 };

/** Why a value gave nothing: the shelf could not be asked, the value is gone, is of another version, or was damaged and is removed. */
interface Missed {
  readonly kind: 'trouble' | 'gone' | 'foreign' | 'damaged';
  readonly why: string;
}

export class GroupedStore implements BlockStore {
  readonly kind: BlockStore['kind'];
  readonly place: string;
  readonly id: string;
  readonly #shelf: Shelf;
  readonly #clock: Clock;
  readonly #groupBytes: number;
  readonly #maxPendingBytes: number;
  readonly #pauseMs: number;
  readonly #known = new KnownKeys();
  readonly #listeners = new Set<(change: StoreChange) => void>();
  readonly #counts = { readBytes: 0, writtenBytes: 0, reads: 0, writes: 0, droppedBlocks: 0, evictedBlocks: 0, corrupt: 0, foreign: 0 };
  readonly #budgets: Readonly<Record<'read' | 'write', TokenBucket | null>>;
  #condition = READY;
  #pausedUntil = Number.NEGATIVE_INFINITY;
  /** Nobody answers: nothing is looked for either. A disk that is full still gives what it has. */
  #deadUntil = Number.NEGATIVE_INFINITY;
  #pendingBytes = 0;
  #tail: Promise<void> = Promise.resolve();
  readonly #closing = new AbortController();

  constructor(shelf: Shelf, options: GroupedStoreOptions) {
    this.#shelf = shelf;
    this.kind = shelf.kind;
    this.place = shelf.place;
    this.id = shelf.id;
    this.#clock = options.clock;
    this.#groupBytes = options.groupBytes ?? GROUP_BYTES.wanted;
    this.#maxPendingBytes = options.maxPendingBytes ?? 64 << 20;
    this.#pauseMs = options.pauseMs ?? 5_000;
    const rate = options.bytesPerSecond ?? null;
    const bucket = () => (rate === null ? null : new TokenBucket(rate, options.clock.now()));
    this.#budgets = { read: bucket(), write: bucket() };
  }

  /** What the shelf knows from the start, before anything else is asked. */
  async learn(): Promise<void> {
    let learnt = 0;
    for (const key of this.#shelf.keys?.() ?? []) {
      this.#known.add(key);
      learnt += 1;
      if (learnt % LEARNT_AT_ONCE === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async match(keys: readonly string[]): Promise<number> {
    return (await this.#find(keys)).length;
  }

  write(blocks: readonly KvBlock[], options: StoreWriteOptions = {}): Promise<StoreWritten> {
    const fresh = blocks.filter(({ key }) => !this.#known.has(key));
    const known = blocks.length - fresh.length;
    const bytes = fresh.reduce((sum, block) => sum + block.bytes.byteLength, 0);
    const refusal = this.#refusal(bytes);
    if (fresh.length === 0) return Promise.resolve({ ...NO_WRITE, known });
    if (refusal !== null) {
      this.#counts.droppedBlocks += fresh.length;
      if (refusal.reason === 'Busy') this.#condition = refusal;
      return Promise.resolve({ ...NO_WRITE, known, dropped: fresh.length });
    }
    const tenant = tenantTag(options.tenant ?? '');
    const values = chainRuns(fresh, this.#groupBytes).map((run) => shelfValue(run, tenant, options.pinned ?? false));
    this.#pendingBytes += bytes;
    const done = this.#tail.then(() => this.#saveAll(values));
    this.#tail = done.then(() => {
      this.#pendingBytes -= bytes;
      if (this.#condition.reason === 'Busy') this.#condition = READY;
    });
    return done.then((written) => ({ ...written, known: known + written.known }));
  }

  async read(request: StoreReadRequest): Promise<StoreRead> {
    const startedAt = this.#clock.now();
    const blocks: KvBlock[] = [];
    const ids: string[] = [];
    if (request.signal?.aborted) return { blocks, bytes: 0, copies: 0, ms: 0, failed: 'cancelled' };
    let paidAt = startedAt;
    const result = (failed: string | null): StoreRead => {
      const bytes = blocks.length * request.bytesPerBlock;
      this.#counts.readBytes += bytes;
      this.#counts.reads += ids.length;
      return { blocks, bytes, copies: ids.length, ms: Math.max(this.#clock.now(), paidAt) - startedAt, failed };
    };
    const late = Symbol('late');
    const { promise: over, resolve } = Promise.withResolvers<typeof late>();
    const cancel = this.#clock.after(request.deadlineMs, () => resolve(late));
    const abort = () => resolve(late);
    request.signal?.addEventListener('abort', abort, { once: true });
    try {
      const found = await Promise.race([this.#find(request.keys), over]);
      if (found === late) return result(this.#lateText(request));
      while (blocks.length < found.length) {
        const id = found[blocks.length] as string;
        const value = await Promise.race([this.#load(id), over]);
        if (value === late) return result(this.#lateText(request));
        if ('why' in value) return result(value.why);
        ids.push(id);
        const before = blocks.length;
        for (const block of takeWanted(value, request, before)) blocks.push(block);
        const waitMs = this.#price('read', value.length * request.bytesPerBlock);
        paidAt = this.#clock.now() + waitMs;
        if (waitMs > 0) await Promise.race([sleep(this.#clock, waitMs), over]);
        if (blocks.length === before) return result('a stored group holds other tokens than its name says');
      }
      return result(null);
    } finally {
      cancel();
      request.signal?.removeEventListener('abort', abort);
      // From the end to the start, so that the end is the first to go.
      if (ids.length > 0) void this.#shelf.touch(ids.toReversed()).catch((thrown: unknown) => void this.#trouble(thrown));
    }
  }

  async pin(keys: readonly string[], pinned: boolean): Promise<number> {
    try {
      const ids = [...new Set(await this.#find(keys))];
      if (ids.length > 0) await this.#shelf.pin(ids, pinned);
      return ids.length;
    } catch (thrown) {
      this.#trouble(thrown);
      return 0;
    }
  }

  async verify(maxGroups: number): Promise<StoreVerdict> {
    const bad: { group: string; why: string }[] = [];
    const seen = { groups: 0, blocks: 0, bytes: 0 };
    try {
      const ids = await this.#shelf.ids(maxGroups + 1);
      for (const id of ids.slice(0, maxGroups)) {
        const value = await this.#load(id);
        if (this.#isClosed || ('why' in value && value.kind === 'trouble')) return { ...seen, bad, partial: true };
        // One that gave way to others meanwhile, or that another version reads, is not damaged.
        if ('why' in value && value.kind !== 'damaged') continue;
        seen.groups += 1;
        if ('why' in value) {
          bad.push({ group: id, why: value.why });
        } else {
          seen.blocks += value.length;
          seen.bytes += value.reduce((sum, block) => sum + block.bytes.byteLength, 0);
        }
      }
      return { ...seen, bad, partial: ids.length > maxGroups };
    } catch (thrown) {
      this.#trouble(thrown);
      return { ...seen, bad, partial: true };
    }
  }

  async usage(): Promise<StoreUsage> {
    try {
      const usage = await this.#shelf.usage();
      // Where nothing is evicted nothing is written, and no write would find out.
      if (this.#condition.reason === 'Unavailable' && this.#clock.now() >= this.#pausedUntil) this.#condition = READY;
      return usage;
    } catch (thrown) {
      this.#trouble(thrown);
      return { usedBytes: 0, pinnedBytes: 0, capacityBytes: 0, groups: 0 };
    }
  }

  counters(): StoreCounters {
    return { ...this.#counts };
  }

  condition(): StoreCondition {
    return this.#condition;
  }

  keys(limit: number): string[] {
    return this.#known.keys(limit);
  }

  onChange(listener: (change: StoreChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  settled(): Promise<void> {
    return this.#tail;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#tail;
    await this.#shelf.close();
  }

  get #isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** Ids of the values that hold the leading keys. Never rejects. */
  async #find(keys: readonly string[]): Promise<string[]> {
    if (keys.length === 0 || this.#isClosed || this.#clock.now() < this.#deadUntil) return [];
    try {
      const ids = await this.#shelf.find(keys);
      const end = ids.indexOf(null);
      const leading = (end < 0 ? ids : ids.slice(0, end)) as string[];
      const gone = keys.filter((key, index) => ids[index] === null && (index === end || this.#known.has(key)));
      this.#tell(gone, keys.slice(0, leading.length));
      return leading;
    } catch (thrown) {
      this.#trouble(thrown);
      return [];
    }
  }

  /** The verified blocks of a value, or why there are none. A damaged one is removed. Never rejects. */
  async #load(id: string): Promise<readonly KvBlock[] | Missed> {
    try {
      const value = await this.#shelf.load(id);
      if (value === null) {
        // A part of it may be left, and would pass for the whole.
        await this.#remove(id);
        return { kind: 'gone', why: 'a stored group is gone' };
      }
      const group = decodeGroup(value);
      if ('why' in group) return await this.#unreadable(id, group);
      const last = group.blocks.at(-1) as KvBlock;
      if (groupId(last.key, group.blocks.length) !== id)
        return await this.#unreadable(id, { why: 'it holds another group than its name says', version: false });
      return group.blocks;
    } catch (thrown) {
      return { kind: 'trouble', why: this.#trouble(thrown).message };
    }
  }

  async #unreadable(id: string, { why, version }: Unreadable): Promise<Missed> {
    if (version) {
      this.#counts.foreign += 1;
      const message = `group ${id} in ${this.place} has ${why}: it was left alone; use another place for this version, or empty it`;
      this.#condition = { reason: 'Incompatible', message };
      return { kind: 'foreign', why: message };
    }
    this.#counts.corrupt += 1;
    await this.#remove(id);
    return { kind: 'damaged', why: `a stored group was damaged (${why}) and is removed` };
  }

  async #remove(id: string): Promise<void> {
    this.#tell(await this.#shelf.remove(id), []);
  }

  async #saveAll(values: readonly ShelfValue[]): Promise<StoreWritten> {
    const sum = { ...NO_WRITE };
    for (const value of values.toReversed()) {
      const part = await this.#save(value);
      if (part.bytes > 0) await sleep(this.#clock, this.#price('write', part.bytes), this.#closing.signal);
      for (const name of Object.keys(sum) as (keyof StoreWritten)[]) Object.assign(sum, { [name]: sum[name] + part[name] });
    }
    this.#counts.droppedBlocks += sum.dropped;
    this.#counts.writtenBytes += sum.bytes;
    this.#counts.writes += sum.copies;
    return sum;
  }

  async #save(value: ShelfValue): Promise<StoreWritten> {
    const count = value.keys.length;
    if (this.#isClosed || this.#clock.now() < this.#pausedUntil) return { ...NO_WRITE, dropped: count };
    try {
      const there = await this.#shelf.find(value.keys);
      if (there.every((id) => id !== null)) {
        this.#tell([], value.keys);
        return { ...NO_WRITE, known: count };
      }
      const { refused, evicted, notice = READY } = await this.#shelf.save(value);
      this.#counts.evictedBlocks += evicted.length;
      this.#tell(evicted, refused === null ? value.keys : []);
      if (refused !== null) {
        this.#condition = refused;
        // A tenant's quota and a value too large are no trouble of the others.
        if (refused.reason !== 'OverQuota' && refused.reason !== 'Full') this.#pausedUntil = this.#clock.now() + this.#pauseMs;
        return { ...NO_WRITE, dropped: count };
      }
      this.#condition = notice;
      return { ...NO_WRITE, written: count, bytes: value.bytes.length, copies: 1 };
    } catch (thrown) {
      this.#trouble(thrown);
      return { ...NO_WRITE, dropped: count };
    }
  }

  /** Milliseconds to wait until the budget is paid for what was moved. */
  #price(way: 'read' | 'write', bytes: number): number {
    return this.#budgets[way]?.take(bytes, this.#clock.now()) ?? 0;
  }

  #refusal(bytes: number): StoreCondition | null {
    if (this.#isClosed) return { reason: 'Unavailable', message: 'the store is closed' };
    if (this.#clock.now() < this.#pausedUntil) return this.#condition;
    if (this.#pendingBytes + bytes <= this.#maxPendingBytes) return null;
    const message = `${this.#pendingBytes} bytes wait to be written to ${this.place}, at most ${this.#maxPendingBytes} may: it is slower than what is evicted`;
    return { reason: 'Busy', message };
  }

  #trouble(thrown: unknown): StoreCondition {
    this.#condition = thrown instanceof StoreTrouble ? thrown.condition : this.#unforeseen(thrown);
    this.#pausedUntil = this.#clock.now() + this.#pauseMs;
    if (['Unavailable', 'Denied'].includes(this.#condition.reason)) this.#deadUntil = this.#pausedUntil;
    return this.#condition;
  }

  /** A fault of ours must not end an engine that can do without the store. */
  #unforeseen(thrown: unknown): StoreCondition {
    const text = thrown instanceof Error ? thrown.message : String(thrown);
    return {
      reason: 'Unavailable',
      message: `${this.place} is left alone after an unforeseen fault, which is a mistake of Sluice: ${text}`,
    };
  }

  /** Learns and tells on: what is stored once, what is gone always, since another process may have told that it is there. */
  #tell(removed: readonly string[], stored: readonly string[]): void {
    for (const key of removed) this.#known.remove(key);
    const gained = stored.filter((key) => this.#known.add(key));
    if (removed.length + gained.length === 0) return;
    for (const listener of this.#listeners) listener({ removed, stored: gained });
  }

  #lateText({ deadlineMs, signal }: StoreReadRequest): string {
    return signal?.aborted ? 'cancelled' : `the store did not give all within ${Math.round(deadlineMs)} ms`;
  }
}

function shelfValue(run: readonly KvBlock[], tenant: string, pinned: boolean): ShelfValue {
  const keys = run.map(({ key }) => key);
  return { id: groupId(keys.at(-1) as string, keys.length), keys, bytes: encodeGroup(run, tenant), tenant, pinned };
}

/** Those of a value's blocks that are the wanted ones from `at` on. */
function takeWanted(value: readonly KvBlock[], { keys, tokens, blockTokens, bytesPerBlock }: StoreReadRequest, at: number): KvBlock[] {
  const start = value.findIndex(({ key }) => key === keys[at]);
  const taken: KvBlock[] = [];
  for (let index = start; index >= 0 && index < value.length; index++) {
    const block = value[index] as KvBlock;
    const position = at + taken.length;
    if (block.key !== keys[position] || block.bytes.byteLength !== bytesPerBlock || block.tokens.length !== blockTokens) break;
    if (!holdsTokens(block, tokens, position * blockTokens)) break;
    taken.push(block);
  }
  return taken;
}
