/** `--store` of `sluice engine`, checked, and the store that it means. */
import type { EngineType } from '../engines/index.ts';
import { type BlockStore, openFolderStore, StoreTrouble } from '../kv/index.ts';
import { SluiceError, systemClock } from '../shared/index.ts';
import { WrongFlag } from './wrongflag.ts';

interface Room {
  readonly capacityBytes: number;
  readonly tenantShare: number;
  readonly bytesPerSecond: number | null;
}

/** A folder, or a Redis. */
export type StoreAt =
  | (Room & { readonly kind: 'folder'; readonly path: string })
  | (Room & { readonly kind: 'redis'; readonly url: string; readonly space: string; readonly ttlMs: number });

const HOUR_MS = 3_600_000;
const FORM = 'it is {"path":"/folder","capacityBytes":N} or {"url":"redis://host:6379","space":"NAME","capacityBytes":N}';

/** @throws WrongFlag */
export function storeOf(text: string | null, type: EngineType): StoreAt | null {
  if (text === null) return null;
  if (type === 'vllm') throw new WrongFlag('--store is for --type llamacpp and sim; vLLM has connectors of its own (--engine-arg)');
  if (type === 'sglang') throw new WrongFlag('--store is for --type llamacpp and sim; SGLang has tiers of its own (--engine-arg)');
  let given: unknown;
  try {
    given = JSON.parse(text);
  } catch {
    throw new WrongFlag(`--store must be JSON; ${FORM}`);
  }
  if (typeof given !== 'object' || given === null || Array.isArray(given)) throw new WrongFlag(`--store must be a JSON object; ${FORM}`);
  const fields = new Map<string, unknown>(Object.entries(given));
  const room = {
    capacityBytes: numberIn(fields, 'capacityBytes', { min: 2 ** 20, max: 2 ** 46 }),
    tenantShare: numberIn(fields, 'tenantShare', { min: 0.01, max: 1, fallback: 1 }),
    bytesPerSecond: fields.has('bytesPerSecond') ? numberIn(fields, 'bytesPerSecond', { min: 1_024, max: 2 ** 40 }) : null,
  };
  if (fields.has('path') === fields.has('url')) throw new WrongFlag(`--store names one of path and url; ${FORM}`);
  const isFolder = fields.has('path');
  const allowed = [...(isFolder ? ['path'] : ['url', 'space', 'ttlMs']), 'capacityBytes', 'tenantShare', 'bytesPerSecond'];
  const odd = [...fields.keys()].find((name) => !allowed.includes(name));
  if (odd !== undefined) throw new WrongFlag(`--store has no "${odd}" beside ${isFolder ? 'path' : 'url'}; it has ${allowed.join(', ')}`);
  if (isFolder) return { kind: 'folder', path: textIn(fields, 'path'), ...room };
  const ttlMs = numberIn(fields, 'ttlMs', { min: 1_000, max: 24 * HOUR_MS, fallback: HOUR_MS });
  return { kind: 'redis', url: textIn(fields, 'url'), space: textIn(fields, 'space'), ttlMs, ...room };
}

function textIn(fields: ReadonlyMap<string, unknown>, name: string): string {
  const value = fields.get(name);
  if (typeof value === 'string' && value !== '') return value;
  throw new WrongFlag(`--store.${name} must be text; ${FORM}`);
}

function numberIn(fields: ReadonlyMap<string, unknown>, name: string, of: { min: number; max: number; fallback?: number }): number {
  const value = fields.get(name) ?? of.fallback;
  if (typeof value === 'number' && value >= of.min && value <= of.max) return value;
  throw new WrongFlag(`--store.${name} must be a number from ${of.min} to ${of.max}; got ${JSON.stringify(value) ?? 'nothing'}`);
}

/**
 * Opens it. A Redis is connected in the background: an engine serves without.
 * @param password of a Redis; null = none
 * @throws SluiceError naming the field of the resource that is at fault.
 */
export async function openStore(at: StoreAt | null, password: string | null): Promise<BlockStore | null> {
  if (at === null) return null;
  try {
    if (at.kind === 'folder') return await openFolderStore({ ...at, clock: systemClock });
    const { redisStore } = await import('../kv/store/redis/index.ts');
    const { url, ...rest } = at;
    return redisStore({ ...rest, servers: { urls: [url], ...(password === null ? {} : { password }) }, clock: systemClock });
  } catch (thrown) {
    if (!(thrown instanceof StoreTrouble || thrown instanceof RangeError)) throw thrown;
    throw new SluiceError('invalid_request', `--store: ${thrown.message}`, { param: 'kv.store', cause: thrown });
  }
}
