/** What is known of KV, for `sluice kv`: what each instance reports, and where the blocks of a key or of a request are. Asks engines. */
import type { KvVerdict, StoreLoad, TierLoad } from '../../engines/index.ts';
import { hexNumber, isKeyHex } from '../../kv/index.ts';
import { SluiceError } from '../../shared/index.ts';
import { askInstance } from '../instances/ask.ts';
import type { Instance } from '../instances/instance.ts';
import type { RouterParts } from '../parts.ts';

export interface KvInstance {
  readonly id: string;
  readonly role: string;
  readonly connected: boolean;
  readonly blockTokens: number | null;
  readonly bytesPerBlock: number | null;
  readonly tiers: { readonly hbm: TierLoad; readonly host: TierLoad; readonly store: StoreLoad | null };
  readonly leases: number;
  /** Prompt tokens of this router's requests by where their KV came from; `computed`: nowhere. */
  readonly promptTokens: Readonly<Record<'hbm' | 'host' | 'peer' | 'store' | 'computed', number>>;
}

export interface KvView {
  readonly model: string;
  readonly directory: { readonly blocks: number; readonly instances: number; readonly expectations: number; readonly evicted: number };
  readonly instances: readonly KvInstance[];
}

/** Leading blocks of the chain in each tier. */
export interface KvPlace {
  readonly id: string;
  readonly role: string;
  readonly hbm: number;
  readonly host: number;
  readonly store: number;
  readonly held: number;
  /** The engine itself, or the router's directory when the engine cannot be asked. */
  readonly by: 'engine' | 'directory';
}

export interface KvWhere {
  readonly kind: 'key' | 'request';
  readonly id: string;
  /** Of the chain; 1 for a key. */
  readonly blocks: number;
  readonly places: readonly KvPlace[];
}

export interface KvBlocks {
  readonly instance: string;
  readonly bytesPerBlock: number;
  readonly blockTokens: number;
  readonly tiers: Readonly<Partial<Record<'hbm' | 'host' | 'store', { readonly blocks: number; readonly keys: readonly string[] }>>>;
}

export interface KvVerified {
  readonly instances: readonly ({ readonly id: string } & ({ readonly verdict: KvVerdict } | { readonly why: string }))[];
}

const VERIFY_MS = 120_000;
const MOST_KEYS = 4_096;
const NO_MEMORY: TierLoad = { usedBytes: 0, cachedBytes: 0, capacityBytes: 0 };

export function kvView({ registry, context }: RouterParts): KvView {
  return { model: registry.model, directory: context.directory.stats(), instances: registry.instances.map(row) };
}

function row(instance: Instance): KvInstance {
  const { id, role, connected, info, load, reusedByTier, promptTokens } = instance;
  const reused = reusedByTier.hbm + reusedByTier.host + reusedByTier.peer + reusedByTier.store;
  return {
    id,
    role,
    connected,
    blockTokens: info?.identity.blockTokens ?? null,
    bytesPerBlock: info?.bytesPerBlock ?? null,
    tiers: { hbm: load?.kv.hbm ?? NO_MEMORY, host: load?.kv.host ?? NO_MEMORY, store: load?.kv.store ?? null },
    leases: load?.leases ?? 0,
    promptTokens: { ...reusedByTier, computed: Math.max(0, promptTokens - reused) },
  };
}

/**
 * @param id a block's key (32 hex digits), or the id of a request.
 * @throws SluiceError `not_found` when there is no such request, or nothing is known of its blocks.
 */
export async function kvWhere(parts: RouterParts, id: string): Promise<KvWhere> {
  const keys = isKeyHex(id) ? [hexNumber(id)] : keysOfRequest(parts, id);
  const { registry, context } = parts;
  const known = new Map(context.directory.lookup(keys).map((match) => [match.instance, match]));
  const stored = context.directory.stored(Float64Array.from(keys));
  const places = registry.instances.map(async (instance): Promise<KvPlace> => {
    const { role } = instance;
    const told = await askInstance<Omit<KvPlace, 'id' | 'role' | 'by'>>(instance, parts.context.clock, {
      path: '/sluice/kv/where',
      body: { keys },
    });
    if (told.ok) return { id: instance.id, role, ...told.json, by: 'engine' };
    const { hbm = 0, host = 0, held = 0 } = known.get(instance.id) ?? {};
    const store = stored.get(instance.info?.store ?? '') ?? 0;
    return { id: instance.id, role, hbm, host, store, held, by: 'directory' };
  });
  return { kind: isKeyHex(id) ? 'key' : 'request', id, blocks: keys.length, places: await Promise.all(places) };
}

function keysOfRequest({ records, context }: RouterParts, id: string): number[] {
  const record = records.get(id);
  if (!record)
    throw new SluiceError('not_found', `no record of request ${id.slice(0, 128)}: it was never here, or later ones took its place`);
  const keys = context.chains.get(record);
  if (!keys || keys.length === 0)
    throw new SluiceError('not_found', `request ${id.slice(0, 128)} has no whole block: its prompt is short, or was never placed`);
  return [...keys.subarray(0, MOST_KEYS)];
}

/** @throws SluiceError when there is no such instance, or it does not tell. */
export async function kvBlocks(parts: RouterParts, id: string, limit: number): Promise<KvBlocks> {
  const instance = parts.registry.instance(id);
  const told = await askInstance<KvBlocks>(instance, parts.context.clock, { path: `/sluice/kv/blocks?limit=${limit}`, body: null });
  if (!told.ok) throw new SluiceError('unavailable', `${id} does not tell what it holds: ${told.why}`);
  return told.json;
}

/** @param id of one instance; null = all. */
export async function kvVerify(parts: RouterParts, id: string | null): Promise<KvVerified> {
  const instances = id === null ? parts.registry.instances : [parts.registry.instance(id)];
  const verdicts = instances.map(async (instance) => {
    const told = await askInstance<KvVerdict>(instance, parts.context.clock, { path: '/sluice/kv/verify', body: {}, timeoutMs: VERIFY_MS });
    return told.ok ? { id: instance.id, verdict: told.json } : { id: instance.id, why: told.why };
  });
  return { instances: await Promise.all(verdicts) };
}
