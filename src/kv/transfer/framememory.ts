/**
 * Memory that keeps blocks as frames, so that they are sent from where they are. It is reserved beforehand and used again and again: V8
 * counts new memory against its heap, so that the 8 MB of one long prompt alone make it mark all of that. Its helper threads do so while
 * the blocks are sent, and take the processor from the thread that sends: 10 to 30 ms for what takes 3.
 *
 * Frames that are taken together lie behind each other where possible. Reserved memory costs address space until it is used; none is
 * given back to the system.
 */
import { checksum, type KvBlock } from '../host/block.ts';
import { type BlockShape, blockFrameBytes, HEADER_BYTES, writeBlockHeader } from './frames.ts';

const CHUNK_BYTES = 4 << 20;
const MOST_PER_CHUNK = 4096;

export class FrameMemory {
  readonly #shape: BlockShape;
  readonly #framesPerChunk: number;
  readonly #reserved: ArrayBuffer[];
  /** The last one is taken first. */
  #free: Buffer[] = [];

  /** @param blocks how many to reserve memory for; more than these are possible. */
  constructor(shape: BlockShape, blocks = 0) {
    this.#shape = shape;
    this.#framesPerChunk = Math.min(MOST_PER_CHUNK, Math.max(1, Math.floor(CHUNK_BYTES / blockFrameBytes(shape))));
    this.#reserved = Array.from({ length: Math.ceil(blocks / this.#framesPerChunk) }, () => this.#newChunk());
  }

  /** `count` frames with anything in them. */
  take(count: number): Buffer[] {
    while (this.#free.length < count) this.#grow();
    return Array.from({ length: count }, () => this.#free.pop() as Buffer);
  }

  /** Nobody uses these any more. In the order in which they were taken, so that they are taken in that order again. */
  give(frames: readonly Buffer[]): void {
    for (const frame of frames.toReversed()) this.#free.push(frame);
  }

  /** Where the KV bytes of a block belong. */
  bytesOf(frame: Buffer): Uint8Array {
    const { blockTokens, bytesPerBlock } = this.#shape;
    return new Uint8Array(frame.buffer, frame.byteOffset + HEADER_BYTES + blockTokens * 4, bytesPerBlock);
  }

  /** The block whose KV bytes were put into the frame; `tokens` are copied into it. */
  block(frame: Buffer, named: Pick<KvBlock, 'key' | 'parent' | 'tokens' | 'tenant'>): KvBlock {
    const tokens = new Int32Array(frame.buffer, frame.byteOffset + HEADER_BYTES, this.#shape.blockTokens);
    tokens.set(named.tokens);
    const bytes = this.bytesOf(frame);
    const block = { ...named, tokens, bytes, crc: checksum(bytes), frame };
    writeBlockHeader(frame, 0, block);
    return block;
  }

  /** A chunk more. It goes below what is free, so that older memory is used first. */
  #grow(): void {
    const bytes = blockFrameBytes(this.#shape);
    const chunk = this.#reserved.pop() ?? this.#newChunk();
    const last = this.#framesPerChunk - 1;
    const frames = Array.from({ length: this.#framesPerChunk }, (_, at) => Buffer.from(chunk, (last - at) * bytes, bytes));
    this.#free = [...frames, ...this.#free];
  }

  #newChunk(): ArrayBuffer {
    return new ArrayBuffer(this.#framesPerChunk * blockFrameBytes(this.#shape));
  }
}
