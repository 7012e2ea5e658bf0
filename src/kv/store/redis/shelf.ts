/**
 * Values in Redis, shared by all instances of one space. All keys share a hash tag, so that a command touches one slot of a cluster. Layout,
 * under `<prefix>{<space>}:store:`, each with a time to live:
 *
 *     order, pins         zset    id → when it was used last; pinned ones apart
 *     counts              hash    used, pinned, groups; u:<tenant> → bytes; b:<id> → bytes, t:<id> → tenant
 *     m:<id>              hash    bytes, chunks, tenant, keys of a value
 *     g:<id>:<n>          string  its chunks, of at most 1 MiB
 *     b:<key>             string  the id of the value that holds a block
 */

import type { Link } from '../../directory/redis/link.ts';
import { readScript, type Script, type ScriptArgument } from '../../directory/redis/scripts.ts';
import { DirectoryFault, type DirectoryFaultCode } from '../../directory/shared/fault.ts';
import type { StoreCondition, StoreReason, StoreUsage } from '../port.ts';
import { GROUP_BYTES } from '../runs.ts';
import { type Shelf, type ShelfSave, type ShelfValue, StoreTrouble } from '../shelf.ts';

export interface RedisShelfOptions {
  readonly place: string;
  /** Of all keys, up to `store:`. */
  readonly prefix: string;
  readonly capacityBytes: number;
  readonly tenantBytes: number;
  readonly ttlMs: number;
}

const COMMANDS = ['put', 'find', 'load', 'touch', 'remove', 'pin', 'usage'] as const;
type Command = (typeof COMMANDS)[number];

/** Values given up for one new one at most, so that a call stays short. */
const MOST_EVICTED = 64;
/** The same, when the server itself has no memory. */
const MOST_GIVEN_WAY = 4;
/** Keys of one look-up at most: Lua's stack has no room for more. */
const MOST_KEYS = 4_000;
/** Of a value: the key of its last block, and how many it has. */
const ID = /^[0-9a-f]{32}-[0-9a-f]{1,4}$/;
/** A value has this many chunks at most. */
const MOST_CHUNKS = 64;

const REASONS: Readonly<Record<DirectoryFaultCode, StoreReason>> = {
  timeout: 'Unavailable',
  unavailable: 'Unavailable',
  overloaded: 'Busy',
  full: 'Full',
  readonly: 'Denied',
  denied: 'Denied',
  incompatible: 'Incompatible',
};

export class RedisShelf implements Shelf {
  readonly kind = 'redis';
  readonly place: string;
  readonly id: string;
  readonly #link: Link;
  readonly #options: RedisShelfOptions;
  readonly #scripts: Readonly<Record<Command, Script>>;
  readonly #tables: readonly string[];

  constructor(link: Link, options: RedisShelfOptions) {
    this.#link = link;
    this.#options = options;
    this.place = options.place;
    this.id = `redis ${options.place} ${options.prefix}`;
    this.#tables = ['order', 'pins', 'counts'].map((name) => options.prefix + name);
    const folder = new URL('lua/', import.meta.url);
    const scripts = COMMANDS.map((name) => [name, { ...readScript(folder, name), binary: name === 'load' }]);
    this.#scripts = Object.fromEntries(scripts) as Record<Command, Script>;
  }

  async find(keys: readonly string[]): Promise<readonly (string | null)[]> {
    const ids: (string | null)[] = [];
    for (let at = 0; at < keys.length; at += MOST_KEYS) {
      const part = keys.slice(at, at + MOST_KEYS).map((key) => `${this.#options.prefix}b:${key}`);
      const found = words(await this.#run('find', part, []));
      const foreign = part[found.findIndex((id) => id !== '' && !ID.test(id))];
      if (foreign !== undefined) throw new StoreTrouble({ reason: 'Incompatible', message: this.#foreignText(foreign) });
      ids.push(...found.map((id) => (id === '' ? null : id)));
    }
    return ids;
  }

  async load(id: string): Promise<Buffer | null> {
    const { prefix } = this.#options;
    const first = await this.#load(id, 1);
    if (first === null) return null;
    const [chunks = 0, ...parts] = first;
    if (typeof chunks !== 'number' || chunks < 1 || chunks > MOST_CHUNKS) {
      throw new StoreTrouble({ reason: 'Incompatible', message: this.#foreignText(`${prefix}m:${id}`) });
    }
    if (chunks === 1) return parts[0] as Buffer;
    const all = await this.#load(id, chunks);
    return all && Buffer.concat(all.slice(1) as Buffer[]);
  }

  async touch(ids: readonly string[]): Promise<void> {
    await this.#run('touch', this.#tables, [this.#options.ttlMs, ...ids]);
  }

  async save(value: ShelfValue): Promise<ShelfSave> {
    const saved = await this.#put(value);
    if (saved !== 'memory') return saved;
    // The server has less memory than our capacity, or others use it: what we hold gives way once.
    const oldest = await this.ids(MOST_GIVEN_WAY);
    const evicted = oldest.length === 0 ? [] : words(await this.#run('remove', this.#tables, oldest));
    const notice: StoreCondition = {
      reason: 'Full',
      message: `Redis at ${this.place}: its maxmemory is used up: raise it, or lower the capacity of the store`,
    };
    const again = await this.#put(value);
    if (again === 'memory') return { refused: notice, evicted };
    return { ...again, notice, evicted: [...evicted, ...again.evicted] };
  }

  /** `memory`: the server has none for it. */
  async #put(value: ShelfValue): Promise<ShelfSave | 'memory'> {
    const { capacityBytes, tenantBytes, ttlMs } = this.#options;
    const { id, bytes, tenant, pinned, keys } = value;
    const head = [id, bytes.length, tenant, pinned ? 1 : 0, ttlMs, capacityBytes, tenantBytes, MOST_EVICTED, keys.join(' ')];
    let reply: unknown;
    try {
      reply = await this.#run('put', this.#tables, [...head, ...chunksOf(bytes)]);
    } catch (thrown) {
      if (thrown instanceof StoreTrouble && thrown.condition.reason === 'Full') return 'memory';
      throw thrown;
    }
    const [word, ...given] = words(reply);
    const evicted = given.filter((key) => !keys.includes(key));
    const refuse = (reason: StoreReason, message: string): ShelfSave => ({ refused: { reason, message }, evicted });
    switch (word) {
      case 'stored':
        return { refused: null, evicted };
      case 'quota':
        return refuse('OverQuota', `${bytes.length} bytes are more than one tenant may have (${tenantBytes}): raise kv.store.tenantShare`);
      case 'full':
        return refuse('Full', `a group of ${bytes.length} bytes is larger than the whole store (${capacityBytes}): raise its capacity`);
      default:
        return refuse('Full', `the store in ${this.place} makes room; what comes meanwhile is not kept`);
    }
  }

  async remove(id: string): Promise<readonly string[]> {
    return words(await this.#run('remove', this.#tables, [id]));
  }

  async pin(ids: readonly string[], pinned: boolean): Promise<void> {
    await this.#run('pin', this.#tables, [pinned ? 1 : 0, ...ids]);
  }

  async ids(limit: number): Promise<readonly string[]> {
    return words(await this.#run('usage', this.#tables, [limit])).slice(3);
  }

  async usage(): Promise<StoreUsage> {
    const [usedBytes = 0, pinnedBytes = 0, groups = 0] = words(await this.#run('usage', this.#tables, [0])).map(Number);
    return { usedBytes, pinnedBytes, capacityBytes: this.#options.capacityBytes, groups };
  }

  async close(): Promise<void> {
    this.#link.close();
  }

  #foreignText(key: string): string {
    return `Redis at ${this.place}: the key ${JSON.stringify(key)} is not ours: delete it, or choose another prefix`;
  }

  /** The count of chunks, then the first `chunks` of them. */
  async #load(id: string, chunks: number): Promise<(number | Buffer)[] | null> {
    const { prefix } = this.#options;
    const keys = Array.from({ length: chunks }, (_, n) => `${prefix}g:${id}:${n}`);
    const reply = await this.#run('load', [`${prefix}m:${id}`, ...keys], []);
    if (!Array.isArray(reply) || reply.length < 2) return null;
    return reply.map((part: unknown, index) => (index === 0 ? Number(String(part)) : (part as Buffer)));
  }

  async #run(command: Command, keys: readonly string[], args: readonly ScriptArgument[]): Promise<unknown> {
    try {
      return await this.#link.run(this.#scripts[command], keys, args);
    } catch (thrown) {
      if (!(thrown instanceof DirectoryFault)) throw thrown;
      throw new StoreTrouble({ reason: REASONS[thrown.code], message: thrown.message }, thrown);
    }
  }
}

function chunksOf(bytes: Buffer): Buffer[] {
  const count = Math.ceil(bytes.length / GROUP_BYTES.most);
  if (count > MOST_CHUNKS) throw new RangeError(`a value of ${bytes.length} bytes, at most ${MOST_CHUNKS * GROUP_BYTES.most} fit`);
  const each = Math.ceil(bytes.length / count);
  return Array.from({ length: count }, (_, n) => bytes.subarray(n * each, (n + 1) * each));
}

function words(reply: unknown): string[] {
  return Array.isArray(reply) ? reply.map(String) : [];
}
