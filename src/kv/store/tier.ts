/**
 * The store as the tier of one instance: what host memory gives up is written there, and what a prompt finds there is read when that is
 * faster than computing it.
 *
 * Invariants
 * - A request waits no longer than its deadline, and not at all when computing is expected to be faster.
 * - Nothing is moved faster than the byte budget; what it holds up is dropped when too much waits.
 */
import type { Clock } from '../../shared/index.ts';
import type { KvBlock } from '../host/block.ts';
import {
  isWorthKeeping,
  type Offer,
  type OnboardPlan,
  type OnboardQuestion,
  planOnboard,
  storeOffer,
  storeStep,
} from '../policy/choice.ts';
import { LinkMeter, type LinkPrice, moveMs } from '../policy/link.ts';
import type { BlockShape } from '../transfer/frames.ts';
import type { BlockStore, StoreChange, StoreCondition, StoreCounters, StoreRead, StoreUsage, StoreVerdict } from './port.ts';
import { ReadAhead } from './readahead.ts';
import { GROUP_BYTES } from './runs.ts';

export interface StoreTierOptions extends BlockShape {
  readonly store: BlockStore;
  readonly clock: Clock;
  /** Of the host memory above it. */
  readonly hostBytes: number;
  /** Milliseconds to compute `tokens` after `context` ones, as of now. */
  readonly prefillMs: (tokens: number, context: number) => number;
}

export interface OnboardRequest {
  /** Of all blocks of the prompt that may be reused. */
  readonly keys: readonly string[];
  readonly tokens: Int32Array;
  /** Leading blocks that need no moving. */
  readonly resident: number;
  /** What a peer offers, if one does. */
  readonly peer: Offer | null;
  /** Of reading, once it is this prompt's turn. With a peer of all: what it offers is not kept for ever. */
  readonly deadlineMs: number;
  /** So long it waits for its turn to be computed anyway. */
  readonly lineMs: number;
  readonly signal: AbortSignal;
  /** Called before it waits for its turn to read: so many leading blocks of the prompt will not be computed. */
  readonly planned?: (blocks: number) => void;
}

/** What came of it. `from` is the index of the first of `blocks`. */
export interface Onboarded extends Pick<StoreRead, 'blocks' | 'bytes' | 'copies' | 'ms' | 'failed'> {
  readonly from: number;
  /** The blocks have their place, or are not wanted: others may read ahead. To be called once there are some. Idempotent. */
  readonly release: () => void;
}

export interface StoreTierStats {
  readonly kind: BlockStore['kind'];
  readonly place: string;
  readonly condition: StoreCondition;
  readonly usage: StoreUsage;
  readonly counters: StoreCounters;
  readonly price: LinkPrice;
  /** What reading for prompts that came before takes. */
  readonly aheadMs: number;
  /** Times that reading was the best, and that computing was although there was something to read. */
  readonly onboarded: number;
  readonly recomputed: number;
}

/** Until something is measured: a disk of 1 GB/s, a server of half that. */
const DECLARED: Readonly<Record<BlockStore['kind'], LinkPrice>> = {
  folder: { fixedMs: 1, msPerMiB: 1, copyMs: 0.2 },
  redis: { fixedMs: 2, msPerMiB: 2, copyMs: 0.5 },
};
/**
 * Asking what is stored may take a quarter of what computing would, within these bounds. One that does not answer in time is not asked again for
 * a while.
 */
const MATCH_SHARE = 0.25;
const MATCH_MS = { least: 50, most: 500 } as const;
const SILENT_MS = 1_000;
/** One waits for an answer while the other's bytes come. */
const READERS = 2;
/** Of all prompts that wait with what was read for them: a part of what host memory may have, and never less. */
const AHEAD = { share: 1 / 8, leastBytes: 256 << 20 } as const;
const USAGE_EVERY_MS = 1_000;
const NO_USAGE: StoreUsage = { usedBytes: 0, pinnedBytes: 0, capacityBytes: 0, groups: 0 };

export class StoreTier {
  readonly #options: StoreTierOptions;
  readonly #meter: LinkMeter;
  readonly #ahead: ReadAhead;
  #usage = NO_USAGE;
  #usageAt = Number.NEGATIVE_INFINITY;
  #silentUntil = Number.NEGATIVE_INFINITY;
  #onboarded = 0;
  #recomputed = 0;

  constructor(options: StoreTierOptions) {
    this.#options = options;
    this.#meter = new LinkMeter(DECLARED[options.store.kind]);
    const budgetBytes = Math.max(AHEAD.leastBytes, options.hostBytes * AHEAD.share);
    this.#ahead = new ReadAhead({ clock: options.clock, readers: READERS, budgetBytes });
    this.#refresh();
  }

  get store(): BlockStore {
    return this.#options.store;
  }

  /** Writes what host memory gave up, unless it would be faster computed than read back. Its memory may be used again at once. */
  offload(blocks: readonly KvBlock[]): void {
    const { store, prefillMs, blockTokens, bytesPerBlock } = this.#options;
    if (!isWorthKeeping(blocks.length, { offer: this.#offer(blocks.length), prefillMs, blockTokens, bytesPerBlock })) return;
    const byTenant = Map.groupBy(blocks, ({ tenant = '' }) => tenant);
    for (const [tenant, own] of byTenant) void store.write(own, { tenant }).then(() => this.#refresh());
  }

  /** What is best for a prompt, by what is stored now: `stored` blocks after the resident ones. */
  async #plan(request: OnboardRequest): Promise<{ plan: OnboardPlan; stored: number }> {
    const { keys, resident, peer, deadlineMs, lineMs, signal } = request;
    const { blockTokens, bytesPerBlock, prefillMs } = this.#options;
    const worthMs = MATCH_SHARE * prefillMs((keys.length - resident) * blockTokens, resident * blockTokens);
    const withinMs = Math.min(deadlineMs, MATCH_MS.most, Math.max(MATCH_MS.least, worthMs));
    const stored = resident < keys.length ? await this.#match(keys.slice(resident), withinMs, signal) : 0;
    const offers: OnboardQuestion['offers'] = {
      ...(peer === null ? {} : { peer }),
      ...(stored === 0 ? {} : { store: this.#offer(resident + stored) }),
    };
    return {
      plan: planOnboard({ blocks: keys.length, resident, offers, blockTokens, bytesPerBlock, prefillMs, deadlineMs, lineMs }),
      stored,
    };
  }

  /** Reads the blocks that a plan wants from here, from the first that is not resident; nothing when it wants none. */
  async onboard(request: OnboardRequest): Promise<Onboarded> {
    const { keys, tokens, resident, peer, deadlineMs, lineMs, signal } = request;
    const startedAt = this.#options.clock.now();
    const nothing: Onboarded = { from: resident, blocks: [], bytes: 0, copies: 0, ms: 0, failed: null, release: () => undefined };
    if (resident >= keys.length || deadlineMs <= 0 || this.#cannotBeat(request)) return nothing;
    const { plan, stored } = await this.#plan(request);
    const first = storeStep(plan);
    if (first === null) {
      if (stored > 0 && plan.steps[0]?.from === 'recompute') this.#recomputed += 1;
      return nothing;
    }
    const { store, clock, blockTokens, bytesPerBlock } = this.#options;
    const leftMs = () => deadlineMs - (clock.now() - startedAt);
    if (leftMs() <= 0) return nothing;
    request.planned?.(first.end);
    const turn = await this.#ahead.enter((first.end - first.start) * bytesPerBlock, peer === null ? lineMs + leftMs() : leftMs(), signal);
    const readMs = peer === null ? deadlineMs : leftMs();
    if (turn === null || readMs <= 0) {
      turn?.leave();
      return nothing;
    }
    const wanted = {
      keys: keys.slice(first.start, first.end),
      tokens: tokens.subarray(first.start * blockTokens, first.end * blockTokens),
      blockTokens,
      bytesPerBlock,
      deadlineMs: readMs,
      signal,
    };
    // A fault of ours must not keep others from reading.
    const read = await store.read(wanted).catch((thrown: unknown) => {
      turn.leave();
      throw thrown;
    });
    turn.done(read.blocks.length * bytesPerBlock);
    if (read.failed === null || read.bytes > 0) this.#meter.moved({ ...read, at: clock.now() });
    if (read.blocks.length > 0) this.#onboarded += 1;
    return {
      from: first.start,
      blocks: read.blocks,
      bytes: read.bytes,
      copies: read.copies,
      ms: clock.now() - startedAt,
      failed: read.failed,
      release: () => turn.leave(),
    };
  }

  keys(limit: number): string[] {
    return this.store.keys(limit);
  }

  onChange(listener: (change: StoreChange) => void): () => void {
    return this.store.onChange(listener);
  }

  verify(maxGroups: number): Promise<StoreVerdict> {
    return this.store.verify(maxGroups);
  }

  /** As of the last look, which is at most a second old while anybody asks. */
  stats(): StoreTierStats {
    this.#refresh();
    const { store, clock } = this.#options;
    return {
      kind: store.kind,
      place: store.place,
      condition: store.condition(),
      usage: this.#usage,
      counters: store.counters(),
      price: this.#meter.price(clock.now()),
      aheadMs: this.#aheadMs(),
      onboarded: this.#onboarded,
      recomputed: this.#recomputed,
    };
  }

  close(): Promise<void> {
    return this.store.close();
  }

  #refresh(): void {
    const { store, clock } = this.#options;
    if (clock.now() < this.#usageAt + USAGE_EVERY_MS) return;
    this.#usageAt = clock.now();
    void store.usage().then((usage) => {
      this.#usage = usage;
    });
  }

  /** A peer that has all and is expected to be faster: then nobody need be asked what is stored. */
  #cannotBeat({ keys, resident, peer }: OnboardRequest): boolean {
    if (peer === null || peer.blocks < keys.length) return false;
    const bytes = (keys.length - resident) * this.#options.bytesPerBlock;
    const copies = (offer: Offer) => Math.ceil((keys.length - resident) / offer.blocksPerCopy);
    const own = this.#offer(keys.length);
    return moveMs(peer.price, bytes, copies(peer)) <= this.#aheadMs() + moveMs(own.price, bytes, copies(own));
  }

  /** A store that hangs must not hold up a request. */
  #match(keys: readonly string[], withinMs: number, signal: AbortSignal): Promise<number> {
    const { store, clock } = this.#options;
    if (clock.now() < this.#silentUntil) return Promise.resolve(0);
    return new Promise((resolve) => {
      const none = () => resolve(0);
      const cancel = clock.after(withinMs, () => {
        this.#silentUntil = clock.now() + SILENT_MS;
        none();
      });
      signal.addEventListener('abort', none, { once: true });
      void store.match(keys).then((count) => {
        cancel();
        signal.removeEventListener('abort', none);
        resolve(count);
      });
    });
  }

  #offer(blocks: number): Offer {
    const { clock, bytesPerBlock } = this.#options;
    return storeOffer(blocks, { price: this.#meter.price(clock.now()), waitMs: this.#aheadMs(), bytesPerBlock });
  }

  #aheadMs(): number {
    const { clock, bytesPerBlock } = this.#options;
    const price = this.#meter.price(clock.now());
    const groupBytes = Math.max(bytesPerBlock, GROUP_BYTES.wanted);
    return this.#ahead.ahead.reduce((sum, bytes) => sum + moveMs(price, bytes, Math.ceil(bytes / groupBytes)), 0);
  }
}
