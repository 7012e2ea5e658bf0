/**
 * Reads HTTP/1.1 answers from raw bytes: as little work per byte as checking every answer allows, so that the generator is not
 * what is measured. Pure: bytes in, calls out.
 */
export interface ResponseSink {
  head(status: number, keepAlive: boolean): void;
  /** A part of the body, chunk framing removed. The view is only valid during the call. */
  body(part: Buffer): void;
  end(): void;
}

type State = 'head' | 'length' | 'chunkSize' | 'chunkData' | 'chunkEnd' | 'trailer';

const LONGEST_HEAD = 256 * 1024;
const CARRIAGE_RETURN = 13;

export class ResponseParser {
  readonly #sink: ResponseSink;
  #state: State = 'head';
  #held: Buffer = Buffer.alloc(0);
  /** Bytes of the body or chunk still to come. */
  #left = 0;

  constructor(sink: ResponseSink) {
    this.#sink = sink;
  }

  /** Throws on anything that is not an HTTP/1.1 answer with a length or chunks. */
  feed(bytes: Buffer): void {
    let input = this.#held.length > 0 ? Buffer.concat([this.#held, bytes]) : bytes;
    this.#held = Buffer.alloc(0);
    while (input.length > 0) {
      const used = this.#step(input);
      if (used === 0) {
        if (input.length > LONGEST_HEAD) throw new Error(`${this.#state} is longer than ${LONGEST_HEAD} bytes`);
        this.#held = Buffer.from(input);
        return;
      }
      input = input.subarray(used);
    }
  }

  /** Takes what it can from the front; 0 = needs more. */
  #step(input: Buffer): number {
    if (this.#state === 'length' || this.#state === 'chunkData') return this.#take(input);
    const size = this.#state === 'head' ? input.indexOf('\r\n\r\n') : input.indexOf('\r\n');
    if (size < 0) return 0;
    if (this.#state === 'head') {
      this.#readHead(input.toString('latin1', 0, size));
      return size + 4;
    }
    if (this.#state === 'chunkSize') {
      this.#left = Number.parseInt(input.toString('latin1', 0, size), 16);
      if (!(this.#left >= 0)) throw new Error(`chunk size is '${input.toString('latin1', 0, Math.min(size, 40))}'`);
      this.#state = this.#left === 0 ? 'trailer' : 'chunkData';
    } else if (this.#state === 'chunkEnd') {
      if (input[0] !== CARRIAGE_RETURN) throw new Error('chunk is longer than its size');
      this.#state = 'chunkSize';
    } else if (size === 0) {
      this.#finish();
    }
    return size + 2;
  }

  #take(input: Buffer): number {
    const used = Math.min(input.length, this.#left);
    this.#left -= used;
    this.#sink.body(input.subarray(0, used));
    if (this.#left === 0) {
      if (this.#state === 'length') this.#finish();
      else this.#state = 'chunkEnd';
    }
    return used;
  }

  #readHead(head: string): void {
    const status = /^HTTP\/1\.1 (\d{3})/.exec(head)?.[1];
    if (status === undefined) throw new Error(`answer starts with '${head.slice(0, 40)}'`);
    this.#sink.head(Number(status), !/\r\nconnection: *close/i.test(head));
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
    if (/\r\ntransfer-encoding: *chunked/i.test(head)) this.#state = 'chunkSize';
    else if (length === undefined) throw new Error('answer has neither content-length nor chunks');
    else if (Number(length) === 0) this.#finish();
    else {
      this.#left = Number(length);
      this.#state = 'length';
    }
  }

  #finish(): void {
    this.#state = 'head';
    this.#sink.end();
  }
}
