/**
 * One message of an engine's KV event publisher to values. Pure.
 *
 * Two encodings of an event are in use and both are read: a map with `type` (vLLM from mid-2026 on, SGLang after 0.5.18) and a list that starts
 * with the type (before). Fields that we do not know are ignored. Events of unknown types and blocks in unknown media are counted
 * and left out; a field that we know and that is not what it should be is an error.
 */
import {
  type BlockHash,
  type BlockRemoved,
  type BlockStored,
  type EventBatch,
  EventFormatError,
  type ExtraKey,
  type HeldTier,
} from './event.ts';
import { type Packed, unpack } from './msgpack.ts';

/** A prompt of a million tokens makes about 5 MB. */
export const MAX_PAYLOAD_BYTES = 16 << 20;
const MAX_EVENTS = 100_000;
const MAX_HASH_BYTES = 64;

const TIERS: Readonly<Record<string, HeldTier>> = {
  gpu: 'hbm',
  cpu: 'host',
  cpu_pinned: 'host',
  storage: 'store',
  fs: 'store',
  obj: 'store',
  disk: 'store',
  external: 'store',
};

/** Names of the fields by their place in the list encoding, after the type. */
const STORED_FIELDS = [
  'block_hashes',
  'parent_block_hash',
  'token_ids',
  'block_size',
  'lora_id',
  'medium',
  'lora_name',
  'extra_keys',
  'group_idx',
  'kv_cache_spec_kind',
  'kv_cache_spec_sliding_window',
  'locality',
];
const REMOVED_FIELDS = ['block_hashes', 'medium', 'group_idx', 'locality'];

/**
 * @param payload last frame of a message: `[timestamp, events, data-parallel rank?]` as MessagePack.
 * @throws EventFormatError
 */
export function decodeBatch(payload: Uint8Array): EventBatch {
  if (payload.length > MAX_PAYLOAD_BYTES) throw new EventFormatError('payload', `at most ${MAX_PAYLOAD_BYTES} bytes`, payload.length);
  const batch = unpack(payload);
  if (!Array.isArray(batch) || batch.length < 2) throw new EventFormatError('batch', 'a list of time and events', batch);
  const list = batch[1] ?? null;
  if (!Array.isArray(list) || list.length > MAX_EVENTS) throw new EventFormatError('events', `a list of at most ${MAX_EVENTS}`, list);
  const events = list.flatMap((event, index) => decodeEvent(new Fields(`events[${index}]`, event)) ?? []);
  return { events, skipped: list.length - events.length };
}

function decodeEvent(fields: Fields) {
  switch (fields.type) {
    case 'BlockStored':
      return stored(fields.named(STORED_FIELDS));
    case 'BlockRemoved':
      return removed(fields.named(REMOVED_FIELDS));
    case 'AllBlocksCleared':
      return { type: 'cleared' } as const;
    default:
      return null;
  }
}

function stored(fields: Fields): BlockStored | null {
  const tier = tierOf(fields);
  if (tier === null) return null;
  const parent = fields.get('parent_block_hash');
  return {
    type: 'stored',
    hashes: fields.list('block_hashes').map((hash) => blockHash(fields, 'block_hashes', hash)),
    parent: parent === null ? null : blockHash(fields, 'parent_block_hash', parent),
    tokens: tokenIds(fields),
    blockTokens: fields.count('block_size') ?? 0,
    adapter: metadataOf(fields) === null ? fields.text('lora_name') : null,
    isAdapted: fields.get('lora_id') !== null,
    extraKeys: extraKeys(fields),
    salt: saltOf(fields),
    tier,
    group: fields.count('group_idx'),
    groupKind: fields.text('kv_cache_spec_kind'),
  };
}

function removed(fields: Fields): BlockRemoved | null {
  const tier = tierOf(fields);
  if (tier === null) return null;
  const hashes = fields.list('block_hashes').map((hash) => blockHash(fields, 'block_hashes', hash));
  return { type: 'removed', hashes, tier, group: fields.count('group_idx') };
}

/** Null for a medium that we do not know, and for memory that is another instance's. */
function tierOf(fields: Fields): HeldTier | null {
  const medium = fields.text('medium');
  // The first versions had GPU memory alone and no such field.
  const tier = medium === null ? 'hbm' : (TIERS[medium.toLowerCase()] ?? null);
  return tier !== 'store' && fields.text('locality') === 'REMOTE' ? null : tier;
}

function blockHash(fields: Fields, name: string, value: Packed): BlockHash {
  if (typeof value === 'bigint') return BigInt.asUintN(64, value);
  if (typeof value === 'number' && Number.isSafeInteger(value)) return BigInt.asUintN(64, BigInt(value));
  if (value instanceof Uint8Array && value.length > 0 && value.length <= MAX_HASH_BYTES)
    return BigInt(`0x${Buffer.from(value).toString('hex')}`);
  throw fields.wrong(name, `integers of 64 bits or 1 to ${MAX_HASH_BYTES} bytes`, value);
}

/**
 * SGLang's own fields, where there are any. In its list they stand where vLLM has the adapter's name.
 */
function metadataOf(fields: Fields): ReadonlyMap<string, Packed> | null {
  const value = fields.get('metadata') ?? fields.get('lora_name');
  return value instanceof Map ? value : null;
}

function saltOf(fields: Fields): string | null {
  const salt = fields.get('cache_salt') ?? metadataOf(fields)?.get('cache_salt') ?? null;
  if (salt !== null && typeof salt !== 'string') throw fields.wrong('cache_salt', 'text or nothing', salt);
  return salt;
}

function tokenIds(fields: Fields): Int32Array {
  const list = fields.list('token_ids');
  // With EAGLE, SGLang's blocks are of pairs of tokens: they cannot be named.
  if (Array.isArray(list[0])) return new Int32Array(0);
  const tokens = new Int32Array(list.length);
  for (const [index, token] of list.entries()) {
    if (typeof token !== 'number' || (token | 0) !== token || token < 0)
      throw fields.wrong('token_ids', 'integers from 0 to 2^31-1', token);
    tokens[index] = token;
  }
  return tokens;
}

function extraKeys(fields: Fields): BlockStored['extraKeys'] {
  if (fields.get('extra_keys') === null) return null;
  return fields.list('extra_keys').map((keys) => {
    if (keys === null) return [];
    if (!Array.isArray(keys)) throw fields.wrong('extra_keys', 'a list or nothing for each block', keys);
    return keys.map((key): ExtraKey => (typeof key === 'string' ? { kind: 'text', text: key } : { kind: 'opaque' }));
  });
}

/** Fields of one event, whichever way it is encoded. */
class Fields {
  readonly #path: string;
  readonly #event: Packed[] | Map<string, Packed>;

  constructor(path: string, event: Packed) {
    this.#path = path;
    if (!(Array.isArray(event) || event instanceof Map)) throw new EventFormatError(path, 'a map or a list', event);
    this.#event = event;
  }

  get type(): string {
    const type = (Array.isArray(this.#event) ? this.#event[0] : this.#event.get('type')) ?? null;
    if (typeof type !== 'string') throw this.wrong('type', 'text', type);
    return type;
  }

  /** The same fields by name. */
  named(places: readonly string[]): Fields {
    const event = this.#event;
    if (!Array.isArray(event)) return this;
    return new Fields(this.#path, new Map(places.map((name, place) => [name, event[place + 1] ?? null])));
  }

  get(name: string): Packed {
    return (Array.isArray(this.#event) ? null : this.#event.get(name)) ?? null;
  }

  list(name: string): Packed[] {
    const value = this.get(name);
    if (!Array.isArray(value)) throw this.wrong(name, 'a list', value);
    return value;
  }

  text(name: string): string | null {
    const value = this.get(name);
    if (value !== null && typeof value !== 'string') throw this.wrong(name, 'text or nothing', value);
    return value;
  }

  count(name: string): number | null {
    const value = this.get(name);
    if (value === null) return null;
    const number = Number(value);
    if ((typeof value !== 'number' && typeof value !== 'bigint') || !Number.isSafeInteger(number) || number < 0)
      throw this.wrong(name, 'an integer of 0 or more, or nothing', value);
    return number;
  }

  wrong(name: string, expected: string, got: Packed): EventFormatError {
    return new EventFormatError(`${this.#path}.${name}`, expected, got);
  }
}
