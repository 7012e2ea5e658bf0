/**
 * Messages of the event log. One message is of one life: `E`, `1`, length and text of the incarnation (UTF-8), then records. A record is
 * its kind (1 byte), tier (1), seq (8, a double), for parts of a snapshot part and parts (4 each), count of keys (4), keys (16 each); all
 * big-endian. Pure.
 */
import { TIERS } from '../directory/shared/bounds.ts';
import type { KvEventEnvelope, Tier } from './event.ts';

/** What a message of the log holds, in order. */
export type LogRecord = { readonly kind: 'event'; readonly envelope: KvEventEnvelope } | SnapshotPart;

/** Part `part` of `parts` of all that is held at `seq`. */
export interface SnapshotPart {
  readonly kind: 'snapshot';
  readonly incarnation: string;
  readonly seq: number;
  readonly part: number;
  readonly parts: number;
  readonly tier: Tier;
  readonly keys: readonly string[];
}

const MAGIC = 0x4531;
const KINDS = ['stored', 'removed', 'cleared', 'snapshot'] as const;
const SNAPSHOT = KINDS.indexOf('snapshot');
const CLEARED = KINDS.indexOf('cleared');
const KEY_BYTES = 16;
const EVENT_BYTES = 14;
const SNAPSHOT_BYTES = EVENT_BYTES + 8;

/** A message that this version did not write. */
export class UnreadableMessage extends Error {}

/** Bytes of a record in a message. */
export function recordBytes(record: LogRecord): number {
  const keys = keysOf(record).length * KEY_BYTES;
  return keys + (record.kind === 'snapshot' ? SNAPSHOT_BYTES : EVENT_BYTES);
}

/** @param records all of `incarnation`, which has at most 255 bytes */
export function encodeMessage(incarnation: string, records: readonly LogRecord[]): Buffer {
  const name = Buffer.from(incarnation);
  const message = Buffer.allocUnsafe(3 + name.length + records.reduce((sum, record) => sum + recordBytes(record), 0));
  message.writeUInt16BE(MAGIC, 0);
  message.writeUInt8(name.length, 2);
  let at = 3 + name.copy(message, 3);
  for (const record of records) at = writeRecord(message, at, record);
  return message;
}

/** @throws UnreadableMessage */
export function decodeMessage(bytes: Uint8Array): LogRecord[] {
  const message = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (message.length < 3 || message.readUInt16BE(0) !== MAGIC) throw new UnreadableMessage('it does not begin with E1');
  let at = 3 + message.readUInt8(2);
  if (at > message.length) throw new UnreadableMessage('it ends within the incarnation');
  const incarnation = message.toString('utf8', 3, at);
  const records: LogRecord[] = [];
  while (at < message.length) {
    const record = readRecord(message, at, incarnation);
    records.push(record);
    at += recordBytes(record);
  }
  return records;
}

function keysOf(record: LogRecord): readonly string[] {
  if (record.kind === 'snapshot') return record.keys;
  const { event } = record.envelope;
  return event.type === 'cleared' ? [] : event.keys;
}

function writeRecord(message: Buffer, from: number, record: LogRecord): number {
  const isSnapshot = record.kind === 'snapshot';
  const event = isSnapshot ? null : record.envelope.event;
  const tier = isSnapshot ? record.tier : event?.type === 'cleared' || event === null ? 'hbm' : event.tier;
  message.writeUInt8(event === null ? SNAPSHOT : KINDS.indexOf(event.type), from);
  message.writeUInt8(TIERS.indexOf(tier), from + 1);
  let at = message.writeDoubleBE(isSnapshot ? record.seq : record.envelope.seq, from + 2);
  if (isSnapshot) at = message.writeUInt32BE(record.parts, message.writeUInt32BE(record.part, at));
  const keys = keysOf(record);
  at = message.writeUInt32BE(keys.length, at);
  for (const key of keys) at += message.write(key, at, KEY_BYTES, 'hex');
  return at;
}

function readRecord(message: Buffer, from: number, incarnation: string): LogRecord {
  const kind = message[from] as number;
  const fixed = kind === SNAPSHOT ? SNAPSHOT_BYTES : EVENT_BYTES;
  const type = KINDS[kind];
  const tier = TIERS[message[from + 1] as number];
  if (from + fixed > message.length) throw new UnreadableMessage('it ends within a record');
  if (type === undefined || tier === undefined) throw new UnreadableMessage('it has a kind of record that is not known');
  const seq = message.readDoubleBE(from + 2);
  const count = message.readUInt32BE(from + fixed - 4);
  const start = from + fixed;
  const end = start + count * KEY_BYTES;
  if (end > message.length || !Number.isSafeInteger(seq) || seq < 0 || (kind === CLEARED && count > 0))
    throw new UnreadableMessage('a record does not fit');
  const digits = message.toString('hex', start, end);
  const keys = Array.from({ length: count }, (_, index) => digits.slice(index * 32, index * 32 + 32));
  if (type === 'snapshot') {
    const [part, parts] = [message.readUInt32BE(from + 10), message.readUInt32BE(from + 14)];
    if (part >= parts) throw new UnreadableMessage('a part of a snapshot is beyond its end');
    return { kind: 'snapshot', incarnation, seq, part, parts, tier, keys };
  }
  return { kind: 'event', envelope: { incarnation, seq, event: type === 'cleared' ? { type } : { type, tier, keys } } };
}
