/** What both adapters hold their callers to, and the figures that they share. */
import type { Tier } from '../../events/event.ts';
import { isKeyHex } from '../../identity/names.ts';
import type { BlockLease, Life, Publication, Withdrawal } from './port.ts';

/** Keys of one call: what one script takes without holding up the others for more than some milliseconds. */
export const MAX_KEYS = 4096;
export const MAX_TTL_MS = 3_600_000;
/** How long a fenced incarnation is remembered: longer than any process can come late. */
export const FENCE_MEMORY_MS = 3_600_000;
export const MAX_LEASES_PER_BLOCK = 64;
export const DEFAULT_BLOCK_TTL_MS = 3_600_000;
export const DEFAULT_MAX_INSTANCES = 1024;
/** A look-up asks about all that hold one block in one command, and Lua hands on less than 8,000 values at once. */
export const MAX_INSTANCES = 4096;

/** Fastest first; the position is the tier's number. */
export const TIERS = ['hbm', 'host', 'peer', 'store'] as const satisfies readonly Tier[];

const NAME = /^[A-Za-z0-9._:@-]{1,200}$/;
const LEASE_ID = /^[0-9a-f]{16}$/;

/** @throws RangeError naming field and value. */
export function checkLife({ instance, incarnation }: Life): void {
  checkName('instance', instance);
  checkName('incarnation', incarnation);
}

export function checkName(field: string, value: string): void {
  if (!NAME.test(value)) wrong(field, '1 to 200 letters, digits or ._:@-', value);
}

export function checkTtl(ttlMs: number, field = 'ttlMs', mostMs = MAX_TTL_MS): void {
  checkInteger(field, ttlMs, mostMs);
}

export function checkKeys(keys: readonly string[]): void {
  if (keys.length < 1 || keys.length > MAX_KEYS) wrong('keys', `1 to ${MAX_KEYS} of them`, keys.length);
  for (const [index, key] of keys.entries()) if (!isKeyHex(key)) wrong(`keys[${index}]`, '32 lower-case hex digits', key);
}

export function checkPublication(publication: Publication): void {
  checkChange(publication);
  checkInteger('blockBytes', publication.blockBytes, 2 ** 32 - 1);
}

export function checkChange({ seq, keys }: Publication | Withdrawal): void {
  checkInteger('seq', seq, Number.MAX_SAFE_INTEGER);
  checkKeys(keys);
  if (new Set(keys).size !== keys.length) {
    const twice = keys.find((key, index) => keys.indexOf(key) !== index);
    wrong('keys', 'none of them twice', twice);
  }
}

export function checkLease(lease: BlockLease): void {
  checkLife(lease);
  if (!LEASE_ID.test(lease.id)) wrong('lease.id', '16 lower-case hex digits', lease.id);
  checkKeys(lease.keys);
}

export function checkInteger(field: string, value: number, most: number): void {
  if (!Number.isInteger(value) || value < 1 || value > most) wrong(field, `an integer from 1 to ${most}`, value);
}

function wrong(field: string, expected: string, value: unknown): never {
  // JSON has no NaN and no Infinity.
  throw new RangeError(`${field}: expected ${expected}, got ${typeof value === 'number' ? value : JSON.stringify(value)}`);
}
