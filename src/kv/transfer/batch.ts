/** Blocks on their way into a socket: pieces of memory that hold whole frames, as few as there can be. */
import type { Socket } from 'node:net';
import type { KvBlock } from '../host/block.ts';
import { type BlockShape, blockFrameBytes, writeBlockFrame } from './frames.ts';
import type { Staging } from './staging.ts';

/** A stretch of one memory. */
interface Piece {
  readonly memory: ArrayBufferLike;
  readonly start: number;
  end: number;
}

export class Batch {
  readonly #frameBytes: number;
  readonly #most: number;
  readonly #staging: Staging;
  readonly #pieces: Piece[] = [];
  /** For blocks that have no frame of their own. */
  #staged: Buffer | null = null;
  #stagedBytes = 0;

  /** For `most` blocks of that shape at most. */
  constructor(shape: BlockShape, most: number, staging: Staging) {
    this.#frameBytes = blockFrameBytes(shape);
    this.#most = most;
    this.#staging = staging;
  }

  add(block: KvBlock): void {
    const frame = block.frame ?? this.#put(block);
    const last = this.#pieces.at(-1);
    if (last && last.memory === frame.buffer && last.end === frame.byteOffset) last.end += frame.byteLength;
    else this.#pieces.push({ memory: frame.buffer, start: frame.byteOffset, end: frame.byteOffset + frame.byteLength });
  }

  /** Once, when all are added. `taken` is called when the socket needs the memory no more. */
  writeTo(socket: Socket, taken: (error?: Error | null) => void): void {
    const done = (error?: Error | null) => {
      if (this.#staged) this.#staging.give(this.#staged);
      taken(error);
    };
    const last = this.#pieces.pop();
    if (!last) return done();
    socket.cork();
    for (const piece of this.#pieces) socket.write(viewOf(piece));
    socket.write(viewOf(last), done);
    socket.uncork();
  }

  #put(block: KvBlock): Uint8Array {
    this.#staged ??= this.#staging.take(this.#most * this.#frameBytes);
    const at = this.#stagedBytes;
    writeBlockFrame(this.#staged, at, block);
    this.#stagedBytes += this.#frameBytes;
    return this.#staged.subarray(at, this.#stagedBytes);
  }
}

function viewOf({ memory, start, end }: Piece): Uint8Array {
  return new Uint8Array(memory, start, end - start);
}
