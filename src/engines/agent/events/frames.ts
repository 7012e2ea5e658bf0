/** The frames around a batch, as an engine's publisher (PUB) and its replay socket (ROUTER) send them. Pure. */
import { EventFormatError } from './event.ts';

export interface PublishedMessage {
  /** Counts from 0 within one life of the engine, without holes. */
  readonly seq: number;
  readonly payload: Buffer;
}

const SEQ_BYTES = 8;
const END = -1n;

/** `[topic, seq, payload]`. @throws EventFormatError */
export function readPublished(frames: readonly Buffer[]): PublishedMessage {
  if (frames.length !== 3) throw new EventFormatError('message', '3 frames', `${frames.length}`);
  return message(frames.slice(1));
}

/** `[empty, topic, seq, payload]`, from older engines without the topic; null = the last answer. @throws EventFormatError */
export function readReplayed(frames: readonly Buffer[]): PublishedMessage | null {
  if (frames.length !== 3 && frames.length !== 4) throw new EventFormatError('replay', '3 or 4 frames', `${frames.length}`);
  const last = frames.slice(-2);
  return last[0]?.length === SEQ_BYTES && last[0].readBigInt64BE() === END ? null : message(last);
}

/** Asks for all messages from `seq` on that the engine still has. */
export function replayRequest(seq: number): Buffer[] {
  const from = Buffer.alloc(SEQ_BYTES);
  from.writeBigUInt64BE(BigInt(seq));
  return [Buffer.alloc(0), from];
}

function message([head, payload]: readonly Buffer[]): PublishedMessage {
  if (head === undefined || payload === undefined || head.length !== SEQ_BYTES)
    throw new EventFormatError('seq', `${SEQ_BYTES} bytes`, head);
  const seq = Number(head.readBigUInt64BE());
  if (!Number.isSafeInteger(seq)) throw new EventFormatError('seq', 'a number below 2^53', seq);
  return { seq, payload };
}
