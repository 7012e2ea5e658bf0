/**
 * What a client makes of the bytes of one pull, without any socket. Bytes are read straight into a slab, frame behind frame; a block
 * leaves only after its key, size, token ids, padding and checksum were found right, as views of the slab.
 *
 * A lost connection is resumed by `restart`: verified blocks stay where they are, the rest is read over.
 */
import { checksum } from '../host/block.ts';
import {
  type BlockShape,
  blockFrameBytes,
  blockPadding,
  FRAME,
  HEADER_BYTES,
  type Header,
  KEY_BYTES,
  REFUSALS,
  readHeader,
  TAG,
} from './frames.ts';
import type { PulledBlock } from './port.ts';

/** Connections of one pull at most; each brings one `accept` frame into the slab. */
export const MAX_CONNECTIONS = 3;
/** Room for a control frame behind the last block. There is always some room, since a read into none would fail. */
const TAIL_BYTES = 2 * HEADER_BYTES;

/** Memory that a pull of `blocks` blocks needs to receive into. */
export function pullSlabBytes(blocks: number, blockTokens: number, bytesPerBlock: number): number {
  return blocks * blockFrameBytes({ blockTokens, bytesPerBlock }) + MAX_CONNECTIONS * HEADER_BYTES + TAIL_BYTES;
}

export interface Expected extends BlockShape {
  readonly keys: readonly string[];
  readonly tokens: Int32Array;
  readonly onBlock: (index: number, block: PulledBlock) => void;
}

/** `complete`: all blocks are there. `failed`: the peer's bytes are of no use from here on, whoever sends them again. */
export type Verdict = { readonly type: 'complete' } | { readonly type: 'failed'; readonly reason: string };

const COMPLETE: Verdict = { type: 'complete' };
const ZEROS = Buffer.alloc(8);

export class PullReceiver {
  readonly #expected: Expected;
  readonly #slab: Buffer;
  readonly #slabWords: Int32Array;
  #keyWords: Int32Array = new Int32Array(0);
  readonly #frameBytes: number;
  readonly #padding: number;
  /** Bytes of the slab that were read, and those of them that were understood. */
  #filled = 0;
  #parsed = 0;
  #accepted = false;
  #blocks = 0;

  /** @param slab `pullSlabBytes` or more, at an address that is a multiple of 4. */
  constructor(expected: Expected, slab: Uint8Array) {
    this.#expected = expected;
    this.#slab = Buffer.from(slab.buffer, slab.byteOffset, slab.byteLength);
    this.#slabWords = new Int32Array(slab.buffer, slab.byteOffset, slab.byteLength >> 2);
    this.#frameBytes = blockFrameBytes(expected);
    this.#padding = blockPadding(expected);
  }

  /** Leading blocks verified so far. */
  get blocks(): number {
    return this.#blocks;
  }

  /** After the last block the peer sends one more control frame: so much of it has not come yet. */
  get owedBytes(): number {
    return HEADER_BYTES - (this.#filled - this.#parsed);
  }

  /** Where the next bytes belong; never empty. Bytes behind the last block overwrite each other. */
  room(): Uint8Array {
    if (this.#filled >= this.#slab.length) this.#filled = this.#slab.length - TAIL_BYTES;
    return this.#slab.subarray(this.#filled);
  }

  /** Forgets what the lost connection brought beyond the last verified block. */
  restart(): void {
    this.#filled = this.#parsed;
    this.#accepted = false;
  }

  /** Takes note of `count` bytes read into `room()`. Null = more bytes are needed. Passes on what `onBlock` throws. */
  advance(count: number): Verdict | null {
    this.#filled += count;
    while (this.#filled - this.#parsed >= HEADER_BYTES) {
      const header = readHeader(this.#slab, this.#parsed);
      if ('malformed' in header) return this.#fail(`the peer sent ${header.malformed}`);
      if (header.type === FRAME.block && this.#accepted) {
        const fault = this.#blockFault(header);
        if (fault !== null) return this.#fail(fault);
        if (this.#filled - this.#parsed < this.#frameBytes) return null;
        const reason = this.#takeBlock(header);
        if (reason !== null) return this.#fail(reason);
      } else {
        const reason = this.#controlFault(header);
        if (reason !== null) return this.#fail(reason);
        this.#accepted = true;
        this.#parsed += HEADER_BYTES;
        // Only now, while the peer gets the blocks ready.
        if (this.#keyWords.length === 0) this.#keyWords = wordsOf(this.#expected.keys);
      }
      if (this.#blocks === this.#expected.keys.length) return COMPLETE;
    }
    return null;
  }

  #fail(reason: string): Verdict {
    return { type: 'failed', reason: `block ${this.#blocks} of ${this.#expected.keys.length}: ${reason}` };
  }

  /** Null only for a right `accept`: with blocks missing, no other control frame is good news. */
  #controlFault(header: Header): string | null {
    if (header.type === FRAME.error)
      return `the peer ${REFUSALS[header.count as keyof typeof REFUSALS] ?? `ended with unknown code ${header.count}`}`;
    if (header.type === FRAME.end) return 'the peer ended too early';
    if (header.type !== FRAME.accept || this.#accepted) return `the peer sent a frame of type ${header.type} out of turn`;
    const missing = this.#expected.keys.length - this.#blocks;
    if (header.count !== missing || header.index !== this.#blocks) return `the peer accepted ${header.count} blocks instead of ${missing}`;
    return header.length === 0 && header.crc === 0 ? null : 'the peer sent an accept frame with a payload';
  }

  #blockFault(header: Header): string | null {
    const { blockTokens, bytesPerBlock } = this.#expected;
    if (header.length !== bytesPerBlock) return `${header.length} bytes, expected ${bytesPerBlock}`;
    if (header.count !== blockTokens) return `${header.count} tokens, expected ${blockTokens}`;
    const key = { words: this.#keyWords, from: (this.#blocks * KEY_BYTES) / 4, count: TAG.bytes / 4 };
    return header.index === 0 && this.#holds(this.#parsed + TAG.at, key) ? null : 'the peer sent another block in its place';
  }

  #takeBlock(header: Header): string | null {
    const { keys, tokens, blockTokens, bytesPerBlock, onBlock } = this.#expected;
    const index = this.#blocks;
    const tokensAt = this.#parsed + HEADER_BYTES;
    const bytesAt = tokensAt + blockTokens * 4;
    const end = bytesAt + bytesPerBlock;
    const from = index * blockTokens;
    if (!this.#holds(tokensAt, { words: tokens, from, count: blockTokens })) return 'other tokens under the same key';
    const bytes = this.#slab.subarray(bytesAt, end);
    if (checksum(bytes) !== header.crc) return 'wrong checksum';
    if (this.#padding > 0 && this.#slab.compare(ZEROS, 0, this.#padding, end, end + this.#padding) !== 0) return 'padding that is not zero';
    this.#parsed += this.#frameBytes;
    this.#blocks += 1;
    onBlock(index, { key: keys[index] as string, tokens: tokens.subarray(from, from + blockTokens), bytes, crc: header.crc });
    return null;
  }

  /** Does the slab have these words at byte `at`? Frames start at multiples of 8. */
  #holds(at: number, { words, from, count }: { readonly words: Int32Array; readonly from: number; readonly count: number }): boolean {
    const base = at / 4;
    for (let i = 0; i < count; i++) if (this.#slabWords[base + i] !== words[from + i]) return false;
    return true;
  }
}

function wordsOf(keys: readonly string[]): Int32Array {
  // Copied: a small buffer is a view of a larger one, at any address.
  return new Int32Array(new Uint8Array(Buffer.from(keys.join(''), 'hex')).buffer);
}
