/**
 * Reads one MessagePack value, for bytes that may come from anyone.
 *
 * Why not a package: the usual ones make an array of the length that a header claims before they have seen its elements, and follow
 * nesting to any depth, so that a few bytes can end the process. Here nothing is made before its bytes were seen.
 *
 * 64-bit integers become bigint, always; shorter ones number. Maps become `Map`. Extension types do not occur in KV events.
 */
import { EventFormatError } from './event.ts';

export type Packed = null | boolean | number | bigint | string | Uint8Array | Packed[] | Map<string, Packed>;

/** KV events nest five deep: batch, events, event, extra keys, one block's. */
const MAX_DEPTH = 16;

/** @throws EventFormatError when `bytes` are not exactly one value as above. */
export function unpack(bytes: Uint8Array): Packed {
  const reader = new Reader(bytes);
  const value = reader.value(0);
  if (reader.left > 0) throw new EventFormatError('payload', 'one value', `${reader.left} bytes after it`);
  return value;
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  value(depth: number): Packed {
    const head = this.#bytes[this.#take(1)] as number;
    if (head < 0x80) return head;
    if (head < 0x90) return this.#map(head & 0x0f, depth);
    if (head < 0xa0) return this.#array(head & 0x0f, depth);
    if (head < 0xc0) return this.#text(head & 0x1f);
    if (head >= 0xe0) return head - 0x100;
    return this.#long(head, depth);
  }

  #long(head: number, depth: number): Packed {
    switch (head) {
      case 0xc0:
        return null;
      case 0xc2:
      case 0xc3:
        return head === 0xc3;
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return this.#binary(this.#unsigned(head - 0xc4));
      case 0xca:
        return this.#bytes.readFloatBE(this.#take(4));
      case 0xcb:
        return this.#bytes.readDoubleBE(this.#take(8));
      case 0xcc:
      case 0xcd:
      case 0xce:
        return this.#unsigned(head - 0xcc);
      case 0xcf:
        return this.#bytes.readBigUInt64BE(this.#take(8));
      case 0xd0:
        return this.#bytes.readInt8(this.#take(1));
      case 0xd1:
        return this.#bytes.readInt16BE(this.#take(2));
      case 0xd2:
        return this.#bytes.readInt32BE(this.#take(4));
      case 0xd3:
        return this.#bytes.readBigInt64BE(this.#take(8));
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.#text(this.#unsigned(head - 0xd9));
      case 0xdc:
      case 0xdd:
        return this.#array(this.#unsigned(head - 0xdb), depth);
      case 0xde:
      case 0xdf:
        return this.#map(this.#unsigned(head - 0xdd), depth);
      default:
        throw new EventFormatError('payload', 'MessagePack without extension types', `byte 0x${head.toString(16)}`);
    }
  }

  /** An unsigned integer of 1, 2 or 4 bytes. */
  #unsigned(sizeLog2: number): number {
    const size = 1 << sizeLog2;
    return this.#bytes.readUIntBE(this.#take(size), size);
  }

  #array(length: number, depth: number): Packed[] {
    checkDepth(depth);
    const values: Packed[] = [];
    for (let count = 0; count < length; count++) values.push(this.value(depth + 1));
    return values;
  }

  #map(length: number, depth: number): Map<string, Packed> {
    checkDepth(depth);
    const map = new Map<string, Packed>();
    for (let count = 0; count < length; count++) {
      const key = this.value(depth + 1);
      if (typeof key !== 'string') throw new EventFormatError('payload', 'text as the key of a map', key);
      map.set(key, this.value(depth + 1));
    }
    return map;
  }

  #text(length: number): string {
    const from = this.#take(length);
    return this.#bytes.toString('utf8', from, from + length);
  }

  /** A copy, so that a few bytes kept do not keep the message. */
  #binary(length: number): Uint8Array {
    const from = this.#take(length);
    return new Uint8Array(this.#bytes.subarray(from, from + length));
  }

  /** Position of the next `count` bytes, which are then behind us. */
  #take(count: number): number {
    if (count > this.left) throw new EventFormatError('payload', `${count} more bytes`, `${this.left}`);
    const from = this.#at;
    this.#at += count;
    return from;
  }
}

function checkDepth(depth: number): void {
  if (depth >= MAX_DEPTH) throw new EventFormatError('payload', `nesting of at most ${MAX_DEPTH}`, 'more');
}
