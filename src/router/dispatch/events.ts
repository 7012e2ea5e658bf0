/**
 * Server-sent events of an engine on their way to the client: whole events only, so that a stream can be taken up by another
 * instance between two of them, and without the comment lines in which the engine tells the token ids (docs/engine-protocol.md).
 */
import type { EventReader, StreamStop } from './dialects/index.ts';

const LF = 10;
const COLON = 58;
const COMMA = 44;
const ZERO = 48;
const BRACKET = 91;
const QUOTE = 34;
const LETTER_M = 109;
/** `data: ` comes before the payload. */
export const PAYLOAD_AT = 6;
const ERROR_START = Buffer.from('data: {"error"');
const USAGE = Buffer.from('"usage":{');
const FINISHED = Buffer.from('"finish_reason":"');
const UNFINISHED = Buffer.from('"finish_reason":null}]}\n\n');
const UNFINISHED_WITH_USAGE = Buffer.from('"finish_reason":null}],"usage":null}\n\n');
/** Longest event that is believed. */
export const MAX_EVENT_BYTES = 4 << 20;

export class EventFilter implements EventReader {
  /** Ids of all tokens that the forwarded events carry. */
  readonly tokenIds: number[] = [];
  /** `[DONE]` was forwarded. */
  done = false;
  /** Of the event that had one: after it nothing but usage and `[DONE]` is missing. */
  finishReason: string | null = null;
  /** The event with usage was forwarded. */
  usage = false;
  /** What this engine sends is never known already. */
  readonly heard = false;
  /** The engine reported an error in the stream; it is held back. */
  stopped: StreamStop | null = null;
  /** The engine stopped after the last event because the stream goes on elsewhere. */
  moved = false;
  #carry: Buffer | null = null;

  get tokens(): number {
    return this.tokenIds.length;
  }

  take(piece: Buffer): Buffer | null {
    const all = this.#carry ? Buffer.concat([this.#carry, piece]) : piece;
    this.#carry = null;
    const out = Buffer.allocUnsafe(all.length);
    let written = 0;
    let from = 0;
    while (from < all.length && this.stopped === null) {
      const end = endOfEvent(all, from);
      if (end < 0) break;
      if (isMoved(all, from)) {
        this.moved = true;
        from = end;
        continue;
      }
      const start = all[from] === COLON ? this.#comment(all, from) : from;
      if (isError(all, start)) this.stopped = { kind: 'error', text: all.toString('utf8', start + PAYLOAD_AT, end).trimEnd() };
      else if (this.#look(all, start, end)) written += all.copy(out, written, start, end);
      from = end;
    }
    if (from < all.length && this.stopped === null) this.#keep(all, from);
    return written === 0 ? null : out.subarray(0, written);
  }

  restart(): void {
    this.#carry = null;
    this.stopped = null;
    this.moved = false;
  }

  #keep(all: Buffer, from: number): void {
    if (all.length - from > MAX_EVENT_BYTES) throw new RangeError('an event of more than 4 MiB');
    this.#carry = Buffer.from(all.subarray(from));
  }

  /** Reads `: 17,18` up to its line end; returns where the next line begins. */
  #comment(all: Buffer, from: number): number {
    let value = 0;
    let digits = 0;
    for (let at = from + 1; ; at++) {
      const byte = all[at] as number;
      if (byte === LF || byte === COMMA) {
        if (digits > 0) this.tokenIds.push(value);
        value = 0;
        digits = 0;
        if (byte === LF) return at + 1;
      } else if (byte >= ZERO && byte <= ZERO + 9) {
        value = value * 10 + byte - ZERO;
        digits += 1;
      }
    }
  }

  /** Notes what the event says of the stream's end; false for one that the client has already (after a resume that only brings usage). */
  #look(all: Buffer, start: number, end: number): boolean {
    if (all[start + PAYLOAD_AT] === BRACKET) {
      this.done = true;
      return true;
    }
    if (this.finishReason === null && endsUnfinished(all, end)) return true;
    const event = all.subarray(start, end);
    if (this.finishReason !== null) {
      if (!event.includes(USAGE)) return false;
      this.usage = true;
      return true;
    }
    const at = event.lastIndexOf(FINISHED);
    if (at >= 0) this.finishReason = event.toString('utf8', at + FINISHED.length, event.indexOf(QUOTE, at + FINISHED.length));
    return true;
  }
}

/** `: moved` in place of an event; other comments are numbers. */
function isMoved(all: Buffer, from: number): boolean {
  return all[from] === COLON && all[from + 2] === LETTER_M;
}

export function isError(all: Buffer, start: number): boolean {
  // A cheap look first: an ordinary event has `{"id"` there.
  return all[start + PAYLOAD_AT + 2] === ERROR_START[PAYLOAD_AT + 2] && all.subarray(start, start + ERROR_START.length).equals(ERROR_START);
}

/**
 * True for nearly every event of a stream: its last choice ends in `null}` (the finish reason), with or without `"usage":null` after
 * it. Only a quick look, as this is done for every token; false means nothing.
 */
function endsUnfinished(all: Buffer, end: number): boolean {
  return endsWith(all, end, UNFINISHED) || endsWith(all, end, UNFINISHED_WITH_USAGE);
}

function endsWith(all: Buffer, end: number, tail: Buffer): boolean {
  let at = end - tail.length;
  if (at < 0) return false;
  for (let index = 0; index < tail.length; index++, at++) if (all[at] !== tail[index]) return false;
  return true;
}

/** Position after the empty line that ends the event at `from`; -1 when it has not come yet. */
export function endOfEvent(all: Buffer, from: number): number {
  for (let at = all.indexOf(LF, from); at >= 0 && at + 1 < all.length; at = all.indexOf(LF, at + 1)) {
    if (all[at + 1] === LF) return at + 2;
  }
  return -1;
}
