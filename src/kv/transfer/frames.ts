/**
 * The transfer protocol on the wire, version 2. Every frame starts with a header of 32 bytes, little-endian (as are the processors that
 * this runs on, so that token ids and headers are copied as they are):
 *
 * | at | bytes | field |
 * |---|---|---|
 * | 0 | 4 | magic `SLKV` |
 * | 4 | 1 | version |
 * | 5 | 1 | type |
 * | 6 | 2 | zero |
 * | 8 | 4 | index: of the first wanted block; blocks taken; 0 in a block |
 * | 12 | 4 | length: payload bytes of a request, KV bytes of a block, else 0 |
 * | 16 | 4 | checksum (CRC-32) of the payload of a request, of the KV bytes of a block, else 0 |
 * | 20 | 4 | count: keys wanted, tokens of a block, or an error code |
 * | 24 | 8 | the first half of a block's key, else zero |
 *
 * A connection carries one request: `request` from the client; `accept`, the blocks in order, `end` from the server, or `error` at any
 * point; `ack` from the client. A client that lost the connection asks again from its first missing block on.
 * A block's frame is header, token ids, KV bytes, and zeros up to a multiple of 8: its size is known beforehand, so a receiver can read
 * straight into its place. Every bit of it is either compared with what is expected or covered by the checksum. Nothing in it depends
 * on who pulls it, so that a server may keep blocks as frames and send them from where they are.
 */
import { checksum, type KvBlock } from '../host/block.ts';

export const PROTOCOL_VERSION = 2;
export const HEADER_BYTES = 32;
/** Longest lease id and longest peer name, in bytes. */
export const MAX_NAME_BYTES = 128;

const MAGIC = 0x564b4c53;
const REQUEST_FIXED_BYTES = 16;
export const KEY_BYTES = 16;
/** Where a block's frame has the first half of its key, and how long that is. */
export const TAG = { at: 24, bytes: 8 } as const;

export const FRAME = { request: 1, accept: 2, block: 3, end: 4, error: 5, ack: 6 } as const;

/** Why a server ends a transfer, in words that follow "the peer …". */
export const REFUSALS = {
  1: 'did not understand the request',
  2: 'speaks another protocol version',
  3: 'does not serve so many keys at once',
  4: 'does not know the lease, or it is over',
  5: 'does not hold it',
  6: 'holds it in another size',
} as const;
export type RefusalCode = keyof typeof REFUSALS;

export interface Header {
  readonly type: number;
  readonly index: number;
  readonly length: number;
  readonly crc: number;
  readonly count: number;
}

export interface BlockShape {
  readonly blockTokens: number;
  readonly bytesPerBlock: number;
}

export interface TransferRequest extends BlockShape {
  readonly lease: string;
  readonly peer: string;
  /** Index of the first of `keys` within the whole pull. */
  readonly from: number;
  readonly keys: readonly string[];
}

/** A fault of the bytes received, in words. */
export interface Malformed {
  readonly malformed: string;
  readonly version: boolean;
}

/** Zero bytes after a block of this shape. */
export function blockPadding(shape: BlockShape): number {
  return -(shape.blockTokens * 4 + shape.bytesPerBlock) & 7;
}

/** Bytes of a block's whole frame. */
export function blockFrameBytes(shape: BlockShape): number {
  return HEADER_BYTES + shape.blockTokens * 4 + shape.bytesPerBlock + blockPadding(shape);
}

/** A header is put together here: eight words at once cost a fraction of eight checked writes. */
const words = new Uint32Array(HEADER_BYTES / 4);
const wordBytes = new Uint8Array(words.buffer);

export function writeHeader(target: Buffer, at: number, header: Header): void {
  words[0] = MAGIC;
  words[1] = PROTOCOL_VERSION | (header.type << 8);
  words[2] = header.index;
  words[3] = header.length;
  words[4] = header.crc;
  words[5] = header.count;
  target.set(wordBytes, at);
}

export function writeBlockHeader(target: Buffer, at: number, { key, tokens, bytes, crc }: KvBlock): void {
  writeHeader(target, at, { type: FRAME.block, index: 0, length: bytes.byteLength, crc, count: tokens.length });
  target.write(key, at + TAG.at, TAG.bytes, 'hex');
}

/** The whole frame of a block: header, token ids, KV bytes, padding. */
export function writeBlockFrame(target: Buffer, at: number, block: KvBlock): void {
  const { tokens, bytes } = block;
  writeBlockHeader(target, at, block);
  target.set(new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength), at + HEADER_BYTES);
  const bytesAt = at + HEADER_BYTES + tokens.byteLength;
  target.set(bytes, bytesAt);
  const end = bytesAt + bytes.byteLength;
  target.fill(0, end, end + blockPadding({ blockTokens: tokens.length, bytesPerBlock: bytes.byteLength }));
}

/** A frame that is a header alone: accept, end, error, ack. */
export function controlFrame(type: number, index: number, count: number): Buffer {
  const frame = Buffer.allocUnsafe(HEADER_BYTES);
  writeHeader(frame, 0, { type, index, length: 0, crc: 0, count });
  return frame;
}

/** Reads the header at `at`, where `HEADER_BYTES` bytes must be. */
export function readHeader(source: Buffer, at: number): Header | Malformed {
  if (source.readUInt32LE(at) !== MAGIC) return { malformed: 'bytes that are no frame', version: false };
  const version = source[at + 4];
  if (version !== PROTOCOL_VERSION) return { malformed: `protocol version ${version}, expected ${PROTOCOL_VERSION}`, version: true };
  const type = source[at + 5] as number;
  const tagged = type !== FRAME.block && (source.readUInt32LE(at + TAG.at) !== 0 || source.readUInt32LE(at + TAG.at + 4) !== 0);
  if (source.readUInt16LE(at + 6) !== 0 || tagged) {
    return { malformed: 'a frame header with bits set that must be zero', version: false };
  }
  return {
    type,
    index: source.readUInt32LE(at + 8),
    length: source.readUInt32LE(at + 12),
    crc: source.readUInt32LE(at + 16),
    count: source.readUInt32LE(at + 20),
  };
}

/** Bytes of a request's payload at most, for a server that serves `maxKeys` keys. */
export function maxRequestBytes(maxKeys: number): number {
  return REQUEST_FIXED_BYTES + 2 * MAX_NAME_BYTES + maxKeys * KEY_BYTES;
}

export function encodeRequest(request: TransferRequest): Buffer {
  const lease = Buffer.from(request.lease, 'latin1');
  const peer = Buffer.from(request.peer, 'latin1');
  const keysAt = HEADER_BYTES + REQUEST_FIXED_BYTES + lease.length + peer.length;
  const frame = Buffer.alloc(keysAt + request.keys.length * KEY_BYTES);
  frame.writeUInt32LE(request.blockTokens, HEADER_BYTES);
  frame.writeUInt32LE(request.bytesPerBlock, HEADER_BYTES + 4);
  frame.writeUInt32LE(lease.length, HEADER_BYTES + 8);
  frame.writeUInt32LE(peer.length, HEADER_BYTES + 12);
  lease.copy(frame, HEADER_BYTES + REQUEST_FIXED_BYTES);
  peer.copy(frame, HEADER_BYTES + REQUEST_FIXED_BYTES + lease.length);
  frame.write(request.keys.join(''), keysAt, 'hex');
  const payload = frame.subarray(HEADER_BYTES);
  writeHeader(frame, 0, {
    type: FRAME.request,
    index: request.from,
    length: payload.length,
    crc: checksum(payload),
    count: request.keys.length,
  });
  return frame;
}

/** Reads a request's payload, which is `header.length` long. */
export function decodeRequest(header: Header, payload: Buffer): TransferRequest | Malformed {
  const malformed = (text: string): Malformed => ({ malformed: text, version: false });
  if (payload.length < REQUEST_FIXED_BYTES) return malformed('a request that is too short');
  if (checksum(payload) !== header.crc) return malformed('a request with a wrong checksum');
  const leaseBytes = payload.readUInt32LE(8);
  const peerBytes = payload.readUInt32LE(12);
  if (leaseBytes === 0 || leaseBytes > MAX_NAME_BYTES || peerBytes > MAX_NAME_BYTES)
    return malformed('a lease id or peer name of a wrong length');
  const peerAt = REQUEST_FIXED_BYTES + leaseBytes;
  const keysAt = peerAt + peerBytes;
  if (payload.length !== keysAt + header.count * KEY_BYTES) return malformed('a request of a wrong length');
  if (header.index + header.count > 0xffffffff) return malformed('a request beyond the last block number');
  const keys = payload.toString('hex', keysAt);
  return {
    blockTokens: payload.readUInt32LE(0),
    bytesPerBlock: payload.readUInt32LE(4),
    lease: payload.toString('latin1', REQUEST_FIXED_BYTES, peerAt),
    peer: payload.toString('latin1', peerAt, keysAt),
    from: header.index,
    keys: Array.from({ length: header.count }, (_, index) => keys.slice(index * 2 * KEY_BYTES, (index + 1) * 2 * KEY_BYTES)),
  };
}
