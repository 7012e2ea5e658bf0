/**
 * One text that a stream brings piece by piece, as far as the client has it: how long it is and its checksum, so that another
 * instance's stream of the same text can be gone on with at the very byte.
 */
import { crc32 } from 'node:zlib';

export class Channel {
  #sentBytes = 0;
  #sentCrc = 0;
  #left = 0;
  #skippedCrc = 0;

  /** Bytes that are still to be skipped. */
  get left(): number {
    return this.#left;
  }

  /** These bytes go out. */
  sent(text: Uint8Array): void {
    this.#sentBytes += text.length;
    this.#sentCrc = crc32(text, this.#sentCrc);
  }

  /** The text comes again from its beginning. */
  rewind(): void {
    this.#left = this.#sentBytes;
    this.#skippedCrc = 0;
  }

  /** @returns what the client lacks of these bytes; null when what it has is not what came now */
  skip(text: Uint8Array): Uint8Array | null {
    const skipped = text.subarray(0, this.#left);
    this.#skippedCrc = crc32(skipped, this.#skippedCrc);
    this.#left -= skipped.length;
    return this.#left === 0 && this.#skippedCrc !== this.#sentCrc ? null : text.subarray(skipped.length);
  }
}

/** Entries of a list that a stream brings piece by piece, counted. */
export class Tally {
  #sent = 0;
  #left = 0;

  /** @returns how many of the next `count` entries the client has already */
  take(count: number): number {
    const known = Math.min(this.#left, count);
    this.#left -= known;
    this.#sent += count - known;
    return known;
  }

  rewind(): void {
    this.#left = this.#sent;
  }
}
