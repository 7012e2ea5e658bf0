/**
 * A group: consecutive blocks of one chain as one value, so that one copy moves many (as FastSwitch, arXiv 2411.18424, moves block groups).
 * Little-endian:
 *
 * | at | bytes | field |
 * |---|---|---|
 * | 0 | 4 | magic `SLKG` |
 * | 4 | 2 | version |
 * | 6 | 2 | codec: 0 = KV bytes as they are |
 * | 8 | 4 | tokens per block |
 * | 12 | 4 | KV bytes per block |
 * | 16 | 4 | count of blocks |
 * | 20 | 4 | 1 when there is a parent, else 0 |
 * | 24 | 4 | zero |
 * | 28 | 4 | checksum of everything before the KV bytes, this field taken as zero |
 * | 32 | 16 | key of the block before the first |
 * | 48 | 16 | tag of the tenant |
 * | 64 | 24 × count | key, checksum of the KV bytes, zero |
 * | … | 4 × tokens × count | token ids |
 * | … | | zeros up to a multiple of 8, then the KV bytes of all blocks, one behind the other |
 */
import { createHash } from 'node:crypto';
import { checksum, type KvBlock } from '../host/block.ts';

export const GROUP_VERSION = 1;
const GROUP_HEAD_BYTES = 64;
const ENTRY_BYTES = 24;
const KEY_BYTES = 16;
const MAGIC = 0x474b4c53;
const AT = { version: 4, codec: 6, blockTokens: 8, blockBytes: 12, count: 16, hasParent: 20, crc: 28, parent: 32, tenant: 48 } as const;
/** More blocks than that in one value are no group of ours. */
export const MAX_GROUP_BLOCKS = 4096;

export interface GroupHead {
  readonly version: number;
  readonly codec: number;
  readonly blockTokens: number;
  readonly blockBytes: number;
  readonly count: number;
  readonly tenant: string;
}

/** `version`: it is a group, but not one that this version can read. */
export interface Unreadable {
  readonly why: string;
  readonly version: boolean;
}

/** A group's name says all that is in it: the key of its last block depends on all tokens before. */
export function groupId(lastKey: string, count: number): string {
  return `${lastKey}-${count.toString(16)}`;
}

/** 16 hex digits that stand for a tenant's salt; zeros for the shared one. */
export function tenantTag(salt: string): string {
  return salt === '' ? '0'.repeat(16) : createHash('sha256').update(salt, 'utf8').digest('hex').slice(0, 16);
}

/** Copies the blocks into one value. They must follow each other and have one shape, which the caller has seen to. */
export function encodeGroup(blocks: readonly KvBlock[], tenant: string): Buffer {
  const first = blocks[0] as KvBlock;
  const [blockTokens, blockBytes] = [first.tokens.length, first.bytes.byteLength];
  const places = placesOf({ blockTokens, blockBytes, count: blocks.length });
  const value = Buffer.allocUnsafeSlow(places.end);
  value.fill(0, 0, GROUP_HEAD_BYTES);
  value.writeUInt32LE(MAGIC, 0);
  value.writeUInt16LE(GROUP_VERSION, AT.version);
  value.writeUInt32LE(blockTokens, AT.blockTokens);
  value.writeUInt32LE(blockBytes, AT.blockBytes);
  value.writeUInt32LE(blocks.length, AT.count);
  value.writeUInt32LE(first.parent === null ? 0 : 1, AT.hasParent);
  if (first.parent !== null) value.write(first.parent, AT.parent, KEY_BYTES, 'hex');
  value.write(tenant, AT.tenant, 16, 'latin1');
  value.fill(0, places.tokens + blocks.length * blockTokens * 4, places.bytes);
  for (const [index, block] of blocks.entries()) {
    const entry = GROUP_HEAD_BYTES + index * ENTRY_BYTES;
    value.write(block.key, entry, KEY_BYTES, 'hex');
    value.writeUInt32LE(block.crc, entry + KEY_BYTES);
    value.writeUInt32LE(0, entry + KEY_BYTES + 4);
    const { tokens } = block;
    value.set(new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength), places.tokens + index * blockTokens * 4);
    value.set(block.bytes, places.bytes + index * blockBytes);
  }
  value.writeUInt32LE(checksum(value.subarray(0, places.bytes)), AT.crc);
  return value;
}

/** The fixed part alone, of at least `GROUP_HEAD_BYTES`. */
export function readGroupHead(value: Buffer): GroupHead | Unreadable {
  if (value.length < GROUP_HEAD_BYTES) return { why: `${value.length} bytes, fewer than a group's head has`, version: false };
  if (value.readUInt32LE(0) !== MAGIC) return { why: 'it does not begin as a group does', version: false };
  const head = {
    version: value.readUInt16LE(AT.version),
    codec: value.readUInt16LE(AT.codec),
    blockTokens: value.readUInt32LE(AT.blockTokens),
    blockBytes: value.readUInt32LE(AT.blockBytes),
    count: value.readUInt32LE(AT.count),
    tenant: value.toString('latin1', AT.tenant, AT.tenant + 16),
  };
  if (head.version !== GROUP_VERSION) return { why: `version ${head.version}, expected ${GROUP_VERSION}`, version: true };
  if (head.codec !== 0) return { why: `codec ${head.codec}, expected 0`, version: true };
  if (head.count < 1 || head.count > MAX_GROUP_BLOCKS)
    return { why: `${head.count} blocks, expected 1 to ${MAX_GROUP_BLOCKS}`, version: false };
  return head;
}

/** Bytes from the start on that hold head and keys. */
export function indexBytes(count: number): number {
  return GROUP_HEAD_BYTES + count * ENTRY_BYTES;
}

/** Keys of a group, of which at least `indexBytes(count)` are there. */
export function readGroupKeys(value: Buffer, count: number): string[] {
  return Array.from({ length: count }, (_, index) => {
    const at = GROUP_HEAD_BYTES + index * ENTRY_BYTES;
    return value.toString('hex', at, at + KEY_BYTES);
  });
}

/** The blocks of a whole group as views of it, every checksum compared. */
export function decodeGroup(value: Buffer): { readonly blocks: readonly KvBlock[]; readonly tenant: string } | Unreadable {
  const head = readGroupHead(value);
  if ('why' in head) return head;
  const { count, blockTokens, blockBytes } = head;
  const places = placesOf(head);
  if (value.length !== places.end) return { why: `${value.length} bytes, expected ${places.end}`, version: false };
  const said = value.readUInt32LE(AT.crc);
  value.writeUInt32LE(0, AT.crc);
  const found = checksum(value.subarray(0, places.bytes));
  value.writeUInt32LE(said, AT.crc);
  if (found !== said) return { why: 'the checksum of its head is wrong', version: false };
  const keys = readGroupKeys(value, count);
  const parent = value.readUInt32LE(AT.hasParent) === 1 ? value.toString('hex', AT.parent, AT.parent + KEY_BYTES) : null;
  const blocks: KvBlock[] = [];
  for (const [index, key] of keys.entries()) {
    const at = places.bytes + index * blockBytes;
    const bytes = new Uint8Array(value.buffer, value.byteOffset + at, blockBytes);
    const crc = value.readUInt32LE(GROUP_HEAD_BYTES + index * ENTRY_BYTES + KEY_BYTES);
    if (checksum(bytes) !== crc) return { why: `the checksum of block ${index} is wrong`, version: false };
    const tokens = new Int32Array(blockTokens);
    new Uint8Array(tokens.buffer).set(
      value.subarray(places.tokens + index * blockTokens * 4, places.tokens + (index + 1) * blockTokens * 4),
    );
    blocks.push({ key, parent: index === 0 ? parent : (keys[index - 1] as string), tokens, bytes, crc });
  }
  return { blocks, tenant: head.tenant };
}

function placesOf({ blockTokens, blockBytes, count }: Pick<GroupHead, 'blockTokens' | 'blockBytes' | 'count'>) {
  const tokens = indexBytes(count);
  const bytes = Math.ceil((tokens + count * blockTokens * 4) / 8) * 8;
  return { tokens, bytes, end: bytes + count * blockBytes };
}
