/** Memory in which batches are put together before they are written; a few buffers, used again and again. */
export class Staging {
  readonly #bytes: number;
  readonly #most: number;
  readonly #free: Buffer[] = [];

  /** @param options `bytes` of a usual batch; `kept` free buffers at most. */
  constructor(options: { readonly bytes: number; readonly kept: number }) {
    this.#bytes = options.bytes;
    this.#most = options.kept;
  }

  /** At least `bytes` long. Give it back when the socket has taken what is in it. */
  take(bytes: number): Buffer {
    if (bytes > this.#bytes) return Buffer.allocUnsafeSlow(bytes);
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#bytes);
  }

  give(buffer: Buffer): void {
    if (buffer.length === this.#bytes && this.#free.length < this.#most) this.#free.push(buffer);
  }
}
