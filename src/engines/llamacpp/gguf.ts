/**
 * Reads the head of a GGUF file (version 2 and 3) and proves that every tensor lies inside it. llama.cpp may abort the process on
 * a damaged file, so nothing reaches it that has not passed here.
 */
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { SluiceError } from '../../shared/index.ts';

export type GgufValue = number | bigint | boolean | string | readonly GgufValue[];

export interface GgufHead {
  readonly version: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: readonly {
    readonly name: string;
    readonly dims: readonly number[];
    readonly type: number;
    readonly offset: number;
    readonly bytes: number;
  }[];
  /** sha256 of the head (metadata and tensor table), hex. Weights are not read: see `fingerprint`. */
  readonly headDigest: string;
  readonly fileBytes: number;
}

const MAGIC = 0x46554747;
const MAX_HEAD_BYTES = 256 * 2 ** 20;
const MAX_ENTRIES = 100_000;
const MAX_STRING_BYTES = 16 * 2 ** 20;
const MAX_ARRAY = 4_000_000;

/** Bytes and elements of one block of each ggml type that llama.cpp's CPU build reads. */
const TYPE_BLOCKS: Readonly<Record<number, readonly [bytes: number, elements: number]>> = {
  0: [4, 1],
  1: [2, 1],
  2: [18, 32],
  3: [20, 32],
  6: [22, 32],
  7: [24, 32],
  8: [34, 32],
  9: [36, 32],
  10: [84, 256],
  11: [110, 256],
  12: [144, 256],
  13: [176, 256],
  14: [210, 256],
  15: [292, 256],
  16: [66, 256],
  17: [74, 256],
  18: [98, 256],
  19: [50, 256],
  20: [18, 32],
  21: [110, 256],
  22: [82, 256],
  23: [136, 256],
  24: [1, 1],
  25: [2, 1],
  26: [4, 1],
  27: [8, 1],
  28: [8, 1],
  29: [56, 256],
  30: [2, 1],
  34: [54, 256],
  35: [66, 256],
  39: [17, 32],
};

/** Throws `invalid_request` (param `model.source`) that names the file's fault. */
export function readGguf(path: string): GgufHead {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (cause) {
    throw new SluiceError(
      'invalid_request',
      `model file ${path} cannot be read (${cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown reason'}): give the path of a GGUF file, or builtin:tiny`,
      { param: 'model.source', cause },
    );
  }
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw fault(path, 'is not a regular file');
    return parse(path, new Cursor(fd, path, stat.size));
  } finally {
    closeSync(fd);
  }
}

function fault(path: string, what: string): SluiceError {
  return new SluiceError('invalid_request', `model file ${path} ${what}`, { param: 'model.source' });
}

function parse(path: string, cursor: Cursor): GgufHead {
  if (cursor.size < 24) throw fault(path, `is ${cursor.size} bytes long, too short for GGUF`);
  if (cursor.u32() !== MAGIC) throw fault(path, 'does not start with "GGUF": it is no GGUF file');
  const version = cursor.u32();
  if (version !== 2 && version !== 3) throw fault(path, `has GGUF version ${version}, expected 2 or 3`);
  const tensorCount = cursor.count('tensors', MAX_ENTRIES);
  const pairCount = cursor.count('metadata pairs', MAX_ENTRIES);
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < pairCount; i++) {
    const key = cursor.string();
    metadata.set(key, cursor.value(cursor.u32()));
  }
  const table = Array.from({ length: tensorCount }, () => tensorEntry(path, cursor));
  const alignment = Number(metadata.get('general.alignment') ?? 32);
  if (!Number.isInteger(alignment) || alignment < 1 || alignment > 65_536)
    throw fault(path, `has general.alignment ${alignment}, expected 1 to 65536`);
  const dataStart = Math.ceil(cursor.offset / alignment) * alignment;
  for (const tensor of table) {
    const end = dataStart + tensor.offset + tensor.bytes;
    if (end > cursor.size) {
      throw fault(path, `is truncated: tensor ${tensor.name} ends at byte ${end}, the file has ${cursor.size}. Fetch it again`);
    }
  }
  return { version, metadata, tensors: table, headDigest: cursor.digest(), fileBytes: cursor.size };
}

function tensorEntry(path: string, cursor: Cursor): GgufHead['tensors'][number] {
  const name = cursor.string();
  const rank = cursor.u32();
  if (rank < 1 || rank > 4) throw fault(path, `gives tensor ${name} ${rank} dimensions, expected 1 to 4`);
  const dims = Array.from({ length: rank }, () => cursor.count(`dimension of ${name}`, 2 ** 40));
  const type = cursor.u32();
  const offset = cursor.count(`offset of ${name}`, Number.MAX_SAFE_INTEGER);
  const block = TYPE_BLOCKS[type];
  if (!block) throw fault(path, `stores tensor ${name} in type ${type}, which this engine does not know`);
  const elements = dims.reduce((product, dim) => product * dim, 1);
  return { name, dims, type, offset, bytes: Math.ceil(elements / block[1]) * block[0] };
}

/** Reads forward in a file, bounded, and remembers the digest of what it read. */
class Cursor {
  readonly size: number;
  offset = 0;
  readonly #fd: number;
  readonly #path: string;
  readonly #hash = createHash('sha256');
  #window = Buffer.alloc(0);
  #windowStart = 0;

  constructor(fd: number, path: string, size: number) {
    this.#fd = fd;
    this.#path = path;
    this.size = size;
  }

  digest(): string {
    return this.#hash.copy().digest('hex');
  }

  bytes(length: number): Buffer {
    if (this.offset + length > this.size)
      throw fault(this.#path, `is truncated: its head needs byte ${this.offset + length}, the file has ${this.size}. Fetch it again`);
    if (this.offset + length > MAX_HEAD_BYTES) throw fault(this.#path, `has a head of over ${MAX_HEAD_BYTES} bytes`);
    const start = this.offset - this.#windowStart;
    if (start + length > this.#window.length) {
      const want = Math.min(Math.max(length, 1 << 20), this.size - this.offset);
      this.#window = Buffer.alloc(want);
      readSync(this.#fd, this.#window, 0, want, this.offset);
      this.#windowStart = this.offset;
      return this.bytes(length);
    }
    const slice = this.#window.subarray(start, start + length);
    this.#hash.update(slice);
    this.offset += length;
    return slice;
  }

  u32(): number {
    return this.bytes(4).readUInt32LE();
  }

  count(what: string, max: number): number {
    const value = this.bytes(8).readBigUInt64LE();
    if (value > BigInt(max)) throw fault(this.#path, `claims ${value} as ${what}, at most ${max} is believed`);
    return Number(value);
  }

  string(): string {
    return this.bytes(this.count('string length', MAX_STRING_BYTES)).toString('utf8');
  }

  value(type: number, depth = 0): GgufValue {
    switch (type) {
      case 0:
        return this.bytes(1).readUInt8();
      case 1:
        return this.bytes(1).readInt8();
      case 2:
        return this.bytes(2).readUInt16LE();
      case 3:
        return this.bytes(2).readInt16LE();
      case 4:
        return this.u32();
      case 5:
        return this.bytes(4).readInt32LE();
      case 6:
        return this.bytes(4).readFloatLE();
      case 7:
        return this.bytes(1).readUInt8() !== 0;
      case 8:
        return this.string();
      case 9:
        return this.#array(depth);
      case 10:
        return this.bytes(8).readBigUInt64LE();
      case 11:
        return this.bytes(8).readBigInt64LE();
      case 12:
        return this.bytes(8).readDoubleLE();
      default:
        throw fault(this.#path, `has metadata of type ${type}, expected 0 to 12`);
    }
  }

  #array(depth: number): readonly GgufValue[] {
    if (depth > 2) throw fault(this.#path, 'nests arrays too deep');
    const type = this.u32();
    const length = this.count('array length', MAX_ARRAY);
    return Array.from({ length }, () => this.value(type, depth + 1));
  }
}
