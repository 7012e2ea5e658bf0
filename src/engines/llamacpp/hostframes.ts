/**
 * Puts chains of blocks into host memory, as frames that peers can be sent from where they are. A frame is used again when the host
 * tier has forgotten its block.
 *
 * Whoever gets a block of this engine out of the host tier uses its bytes before anything else can be stored there. The one exception
 * is a socket that still sends a block whose lease ran out: its peer finds that key or checksum are wrong.
 */
import { type BlockShape, FrameMemory, type HostTier, type KvBlock } from '../../kv/index.ts';

export interface HostChain {
  readonly keys: readonly string[];
  /** Key of the block before the first; null when there is none. */
  readonly parent: string | null;
  /** Token ids of all of them. */
  readonly tokens: Int32Array;
  /** Salt of whose they are. */
  readonly tenant: string;
}

export class HostFrames {
  readonly #host: HostTier;
  readonly #shape: BlockShape;
  readonly #memory: FrameMemory;
  /** Frames in use, by the key of their block. */
  readonly #frames = new Map<string, Buffer>();

  constructor(host: HostTier, shape: BlockShape) {
    this.#host = host;
    this.#shape = shape;
    this.#memory = new FrameMemory(shape, Math.floor(host.capacityBytes / shape.bytesPerBlock));
    host.onChange((change) => this.#reuse(change.type === 'cleared' ? [...this.#frames.keys()] : change.removed));
  }

  /**
   * Stores the chain; how many leading blocks are held afterwards. Asks `fill` for the KV bytes of the blocks from `from` on, where it
   * is not null: the first one that is not held yet. Passes on what `fill` throws.
   */
  putChain(chain: HostChain, fill: (targets: Uint8Array[], from: number) => void): number {
    const from = chain.keys.findIndex((key) => !this.#host.has(key));
    if (from < 0) return this.#host.putChain(chain.keys.map((key) => this.#host.peek(key) as KvBlock));
    const frames = this.#memory.take(chain.keys.length - from);
    const unused = new Set(frames);
    try {
      fill(
        frames.map((frame) => this.#memory.bytesOf(frame)),
        from,
      );
      const blocks = chain.keys.map(
        (key, i) => this.#host.peek(key) ?? this.#memory.block(frames[i - from] as Buffer, this.#name(chain, i)),
      );
      const kept = this.#host.putChain(blocks);
      for (const [i, frame] of frames.entries()) {
        const key = chain.keys[from + i] as string;
        if (this.#host.peek(key)?.frame !== frame) continue;
        this.#frames.set(key, frame);
        unused.delete(frame);
      }
      return kept;
    } finally {
      this.#memory.give([...unused]);
    }
  }

  #name({ keys, parent, tokens, tenant }: HostChain, i: number): Pick<KvBlock, 'key' | 'parent' | 'tokens' | 'tenant'> {
    const { blockTokens } = this.#shape;
    const before = i === 0 ? parent : (keys[i - 1] as string);
    return { key: keys[i] as string, parent: before, tokens: tokens.subarray(i * blockTokens, (i + 1) * blockTokens), tenant };
  }

  /** A chain is forgotten from its end. */
  #reuse(keys: readonly string[]): void {
    const frames = keys.map((key) => this.#frames.get(key)).filter((frame) => frame !== undefined);
    for (const key of keys) this.#frames.delete(key);
    this.#memory.give(frames.toReversed());
  }
}
