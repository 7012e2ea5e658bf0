/** HBM and host memory of the simulated engine, and the link between them, which is priced as `src/kv/policy` prices it. */
import { LinkMeter, type LinkPrice, moveMs } from '../../src/kv/index.ts';
import { copiesBetween, GroupAllocator } from './chat-groups.ts';

/** What is switched on. All off: blocks one by one, nothing reused, everybody waits for a switch. */
export interface Mechanisms {
  /** One copy per contiguous group instead of per block. */
  readonly groups: boolean;
  /** What host memory has of a conversation is not sent again. */
  readonly reuse: boolean;
  /** Others go on while blocks move. */
  readonly asynchronous: boolean;
}

export interface MemoryShape {
  readonly hbmBlocks: number;
  readonly hostBlocks: number;
  readonly blockBytes: number;
  readonly blockTokens: number;
  /** Copies of one contiguous run: one for K and one for V of every layer. */
  readonly copiesPerRun: number;
  readonly link: LinkPrice;
}

export interface Traffic {
  bytesOut: number;
  bytesIn: number;
  copies: number;
  switches: number;
  /** Milliseconds that the link was busy. */
  busyMs: number;
}

/** What host memory has of one conversation. */
interface HostCopy {
  /** Tokens whose KV was there when it was copied. */
  readonly tokens: number;
  readonly blocks: number;
}

export class ChatMemory {
  readonly hbm: GroupAllocator<number>;
  readonly traffic: Traffic = { bytesOut: 0, bytesIn: 0, copies: 0, switches: 0, busyMs: 0 };
  readonly meter: LinkMeter;
  readonly #host: GroupAllocator<number>;
  readonly #copies = new Map<number, HostCopy>();
  readonly #shape: MemoryShape;
  readonly #mechanisms: Mechanisms;

  constructor(shape: MemoryShape, mechanisms: Mechanisms) {
    this.#shape = shape;
    this.#mechanisms = mechanisms;
    // Where blocks lie makes no difference to whom copies them one by one.
    this.hbm = new GroupAllocator({ blocks: shape.hbmBlocks });
    this.#host = new GroupAllocator({ blocks: shape.hostBlocks });
    this.meter = new LinkMeter(shape.link);
  }

  blocksOf(tokens: number): number {
    return Math.ceil(tokens / this.#shape.blockTokens);
  }

  /** Leading blocks of a conversation that host memory has. */
  hostBlocks(id: number): number {
    return this.#copies.get(id)?.blocks ?? 0;
  }

  /** Copies a conversation out; milliseconds. Its HBM stays until `hbm.release`. */
  out(id: number, tokens: number, now: number): number {
    const blocks = this.blocksOf(tokens);
    const known = this.#mechanisms.reuse ? this.#copies.get(id) : undefined;
    // The block that was not full then is another one now.
    const from = known ? Math.min(Math.floor(known.tokens / this.#shape.blockTokens), blocks) : 0;
    const kept = known ? known.blocks : 0;
    this.#host.truncate(id, Math.min(kept, blocks));
    this.#makeRoom(id, blocks - this.#host.count(id));
    if (!this.#host.take(id, blocks - this.#host.count(id))) return 0;
    this.#copies.delete(id);
    this.#copies.set(id, { tokens, blocks });
    const ms = this.#move(id, { from, to: blocks }, now);
    this.traffic.bytesOut += (blocks - from) * this.#shape.blockBytes;
    return ms;
  }

  /** Copies the first `blocks` of a conversation in, whose HBM was taken; milliseconds. */
  in(id: number, blocks: number, now: number): number {
    const ms = this.#move(id, { from: 0, to: blocks }, now);
    this.traffic.bytesIn += blocks * this.#shape.blockBytes;
    if (!this.#mechanisms.reuse) this.forget(id);
    return ms;
  }

  forget(id: number): void {
    this.#copies.delete(id);
    this.#host.release(id);
  }

  #move(id: number, range: { from: number; to: number }, now: number): number {
    const { blockBytes, copiesPerRun, link } = this.#shape;
    if (range.to <= range.from) return 0;
    const runs = this.#mechanisms.groups ? copiesBetween(this.hbm.extents(id), this.#host.extents(id), range) : range.to - range.from;
    const copies = runs * copiesPerRun;
    const bytes = (range.to - range.from) * blockBytes;
    const ms = moveMs(link, bytes, copies);
    this.meter.moved({ bytes, copies, ms, at: now });
    this.traffic.copies += copies;
    this.traffic.switches += 1;
    this.traffic.busyMs += ms;
    return ms;
  }

  /** The longest unused copies give way. */
  #makeRoom(spared: number, blocks: number): void {
    for (const id of this.#copies.keys()) {
      if (this.#host.used + blocks <= this.#host.blocks) return;
      if (id !== spared) this.forget(id);
    }
  }
}
