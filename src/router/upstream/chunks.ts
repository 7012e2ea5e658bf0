/**
 * Decoder of chunked bodies. Payload is handed on as views of the buffer that came, without copying; sizes, extensions and
 * trailers are bounded.
 */

/** Malformed chunk framing. */
export class ChunkError extends Error {}

/* States of the decoder. */
const SIZE = 0;
const EXTENSION = 1;
const SIZE_LF = 2;
const DATA = 3;
const DATA_CR = 4;
const DATA_LF = 5;
const TRAILER = 6;
const TRAILER_LF = 7;
const DONE = 8;

const MAX_SIZE_DIGITS = 8;
const MAX_SIDE_BYTES = 4096;
const CR = 13;
const LF = 10;
const SEMICOLON = 59;

export class ChunkDecoder {
  #state = SIZE;
  #left = 0;
  #digits = 0;
  #sideBytes = 0;
  #lineBytes = 0;

  reset(): void {
    this.#state = SIZE;
    this.#left = 0;
    this.#digits = 0;
    this.#sideBytes = 0;
    this.#lineBytes = 0;
  }

  get done(): boolean {
    return this.#state === DONE;
  }

  /**
   * Reads `buffer` from `at`; `onPayload` gets every piece of payload. Returns the position after what was read, less than the
   * buffer's length only when the body is done.
   * @throws ChunkError
   */
  read(buffer: Buffer, at: number, onPayload: (piece: Buffer) => void): number {
    const end = buffer.length;
    while (at < end && this.#state !== DONE) {
      if (this.#state === DATA) {
        const take = Math.min(this.#left, end - at);
        onPayload(take === end && at === 0 ? buffer : buffer.subarray(at, at + take));
        at += take;
        this.#left -= take;
        if (this.#left === 0) this.#state = DATA_CR;
      } else {
        this.#step(buffer[at] ?? 0);
        at += 1;
      }
    }
    return at;
  }

  #step(byte: number): void {
    switch (this.#state) {
      case SIZE:
        this.#size(byte);
        break;
      case EXTENSION:
        if (byte === CR) this.#state = SIZE_LF;
        else if (byte === LF || ++this.#sideBytes > MAX_SIDE_BYTES) throw new ChunkError('malformed chunk extension');
        break;
      case SIZE_LF:
        if (byte !== LF) throw new ChunkError('a chunk size without line feed');
        this.#state = this.#left === 0 ? TRAILER : DATA;
        this.#lineBytes = 0;
        this.#digits = 0;
        break;
      case DATA_CR:
        if (byte !== CR) throw new ChunkError('a chunk longer than its size');
        this.#state = DATA_LF;
        break;
      case DATA_LF:
        if (byte !== LF) throw new ChunkError('a chunk longer than its size');
        this.#state = SIZE;
        break;
      default:
        this.#trailer(byte);
        break;
    }
  }

  #size(byte: number): void {
    const digit = hexDigit(byte);
    if (digit >= 0) {
      if (++this.#digits > MAX_SIZE_DIGITS) throw new ChunkError('a chunk size too large');
      this.#left = this.#left * 16 + digit;
      return;
    }
    if (this.#digits === 0) throw new ChunkError('malformed chunk size');
    if (byte === CR) this.#state = SIZE_LF;
    else if (byte === SEMICOLON) this.#state = EXTENSION;
    else throw new ChunkError('malformed chunk size');
  }

  #trailer(byte: number): void {
    if (this.#state === TRAILER_LF) {
      if (byte !== LF) throw new ChunkError('malformed trailer');
      this.#state = this.#lineBytes === 0 ? DONE : TRAILER;
      this.#lineBytes = 0;
    } else if (byte === CR) {
      this.#state = TRAILER_LF;
    } else {
      this.#lineBytes += 1;
      if (byte === LF || ++this.#sideBytes > MAX_SIDE_BYTES) throw new ChunkError('malformed trailer');
    }
  }
}

function hexDigit(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48;
  if (byte >= 97 && byte <= 102) return byte - 87;
  if (byte >= 65 && byte <= 70) return byte - 55;
  return -1;
}
