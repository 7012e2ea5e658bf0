/**
 * The KV of one engine: slots in llama.cpp's context (HBM), host memory below them, and blocks pulled from a peer.
 *
 * Invariants
 * - Tokens in idle slots plus tokens reserved by busy ones never exceed the HBM budget.
 * - What leaves a slot goes to host memory first, if it has room and does not hold it yet.
 * - `stored`/`removed` events follow what is held: a block is in HBM while at least one slot has it.
 */
import type { HostTier, KvBlock, KvEvent } from '../../kv/index.ts';
import type { LlamaContext } from './context.ts';
import { HostFrames } from './hostframes.ts';
import type { Sequence } from './sequence.ts';
import type { Slabs } from './slabs.ts';
import { chooseSlot, emptySlot, type Slot, type SlotChoice } from './slots.ts';
import { blockBytes, cutBlocks, joinBlocks, type StateLayout, stateBytes } from './statelayout.ts';

export interface CacheOptions {
  readonly context: LlamaContext;
  readonly layout: StateLayout;
  readonly sequences: number;
  readonly blockTokens: number;
  /** HBM budget in tokens. */
  readonly budgetTokens: number;
  readonly host: HostTier;
  /** Memory for states on their way. */
  readonly slabs: Slabs;
  readonly emit: (event: KvEvent) => void;
  readonly now: () => number;
}

/** A block from below HBM. */
interface Below {
  readonly tier: 'host' | 'peer' | 'store';
  readonly bytes: Uint8Array;
}

export class KvCache {
  readonly bytesPerBlock: number;
  readonly #options: CacheOptions;
  readonly #slots: Slot[];
  readonly #hostFrames: HostFrames;
  /** How many slots hold a block. */
  readonly #holders = new Map<string, number>();

  constructor(options: CacheOptions) {
    this.#options = options;
    this.bytesPerBlock = blockBytes(options.layout, options.blockTokens);
    this.#hostFrames = new HostFrames(options.host, { blockTokens: options.blockTokens, bytesPerBlock: this.bytesPerBlock });
    this.#slots = Array.from({ length: options.sequences }, (_, id) => emptySlot(id));
  }

  /** Bytes of running requests' KV, and of what idle slots keep. */
  load(): { usedBytes: number; cachedBytes: number } {
    const perToken = this.bytesPerBlock / this.#options.blockTokens;
    const tokens = (busy: boolean) => this.#slots.reduce((sum, slot) => sum + (slot.busy === busy ? slot.length : 0), 0);
    return { usedBytes: tokens(true) * perToken, cachedBytes: tokens(false) * perToken };
  }

  keysInHbm(): string[] {
    return [...this.#holders.keys()];
  }

  /** Leading blocks of the sequence that need no computing and no pulling, as things are now. */
  residentBlocks(sequence: Sequence): number {
    const wanted = this.#wanted(sequence);
    const inSlots = chooseSlot(
      this.#slots.map((slot) => ({ ...slot, busy: false })),
      wanted,
    );
    const fromSlots = Math.max(inSlots?.keep ?? 0, inSlots?.copyBlocks ?? 0);
    return this.#extend(sequence, fromSlots).length + fromSlots;
  }

  /** Gives the sequence a slot with as much of its prefix as there is. False: no slot or no room in HBM now; ask again later. */
  admit(sequence: Sequence): boolean {
    const wanted = this.#wanted(sequence);
    const choice = chooseSlot(this.#slots, wanted);
    const need = sequence.tokens.length;
    const reserved = this.#slots.reduce((sum, slot) => sum + slot.reserved, 0);
    if (!choice || reserved + need > this.#options.budgetTokens) return false;
    const { slot } = choice;
    slot.busy = true;
    slot.reserved = need;
    sequence.slot = slot;
    // What has to leave leaves before the clock starts: it is no part of this request's hand-off.
    this.#shrink(slot, choice.keep);
    this.#makeRoom(choice.copyFrom);
    const started = this.#options.now();
    this.#load(sequence, choice);
    sequence.loadMs = this.#options.now() - started;
    this.#makeRoom(null);
    sequence.computed = slot.length;
    sequence.dropPulled();
    return true;
  }

  /** Puts pulled blocks behind those that the sequence's slot has already. */
  fill(sequence: Sequence): void {
    const slot = sequence.slot as Slot;
    const { host } = sequence.reused;
    const started = this.#options.now();
    this.#load(sequence, { slot, keep: slot.keys.length, copyFrom: null, copyBlocks: 0 });
    sequence.reused.hbm -= host;
    sequence.loadMs += this.#options.now() - started;
    sequence.computed = slot.length;
    sequence.dropPulled();
  }

  /** The slot now holds `sequence.computed` tokens; finished blocks become known. */
  advance(sequence: Sequence): void {
    const slot = sequence.slot as Slot;
    slot.length = sequence.computed;
    const full = Math.floor(sequence.computed / this.#options.blockTokens);
    if (full > slot.keys.length) this.#gain(slot, sequence.keys.slice(slot.keys.length, full));
  }

  /** The sequence is over; its slot keeps what it has. */
  release(sequence: Sequence): void {
    const { slot } = sequence;
    if (!slot) return;
    slot.busy = false;
    slot.reserved = 0;
    slot.lastUsed = this.#options.now();
    // A tail without a key can be reused by nobody.
    this.#truncate(slot, slot.keys.length);
    sequence.slot = null;
  }

  /** Throws away what a slot holds, after an evaluation failed half way. */
  discard(sequence: Sequence): void {
    if (sequence.slot) this.#truncate(sequence.slot, 0);
  }

  /** Copies the sequence's first `count` blocks to host memory; how many leading ones are there afterwards. */
  keepInHost(sequence: Sequence, count: number): number {
    return this.#copyToHost(sequence.slot as Slot, 0, count);
  }

  #wanted(sequence: Sequence): { keys: readonly string[]; tokens: Int32Array; blockTokens: number } {
    return { keys: sequence.keys.slice(0, sequence.reusableBlocks), tokens: sequence.tokens, blockTokens: this.#options.blockTokens };
  }

  /** Blocks that follow the first `from` ones and are in host memory, were pulled or came from the store. */
  #extend(sequence: Sequence, from: number): Below[] {
    const { host, blockTokens } = this.#options;
    const blocks: Below[] = [];
    for (let i = from; i < sequence.reusableBlocks; i++) {
      const held = host.get(sequence.keys[i] as string);
      const pulled = sequence.pulled.get(i);
      const onboarded = sequence.onboarded.get(i);
      if (held && sameBlock(held, sequence.tokens, i * blockTokens)) blocks.push({ tier: 'host', bytes: held.bytes });
      else if (pulled) blocks.push({ tier: 'peer', bytes: pulled.bytes });
      else if (onboarded) blocks.push({ tier: 'store', bytes: onboarded.bytes });
      else break;
    }
    return blocks;
  }

  #load(sequence: Sequence, choice: SlotChoice): void {
    const { blockTokens } = this.#options;
    const { slot, keep, copyFrom, copyBlocks } = choice;
    const inHbm = Math.max(keep, copyBlocks);
    const more = this.#extend(sequence, inHbm);
    const total = inHbm + more.length;
    sequence.reused.hbm = inHbm * blockTokens;
    for (const block of more) sequence.reused[block.tier] += blockTokens;
    if (total > keep) {
      const first = inHbm > 0 ? this.#cut(copyFrom ?? slot, 0, inHbm) : [];
      this.#join(slot, [...first, ...more.map((block) => block.bytes)]);
      slot.length = total * blockTokens;
    }
    slot.tokens = sequence.tokens;
    slot.tenant = sequence.request.salt;
    this.#gain(slot, sequence.keys.slice(keep, total));
  }

  /** Blocks `from` to `to` of a slot, copied to `targets`, or to memory of their own. */
  #cut(slot: Slot, from: number, to: number, targets?: Uint8Array[]): Uint8Array[] {
    const { context, layout, blockTokens, slabs } = this.#options;
    return slabs.lend(context.stateBytes(slot.id), (memory) =>
      cutBlocks(layout, context.read(slot.id, memory), { from, to, blockTokens }, targets),
    );
  }

  /** The slot then holds these blocks and nothing else. */
  #join(slot: Slot, blocks: readonly Uint8Array[]): void {
    const { context, layout, blockTokens, slabs } = this.#options;
    slabs.lend(stateBytes(layout, blocks.length * blockTokens), (memory) =>
      context.write(slot.id, joinBlocks(layout, blocks, { blockTokens, sequence: slot.id, memory })),
    );
  }

  /** Evicts the ends of idle slots, least recently used first, until the budget holds; `spared` is about to be copied. */
  #makeRoom(spared: Slot | null): void {
    const { budgetTokens, blockTokens } = this.#options;
    const charge = (slot: Slot) => Math.max(slot.length, slot.reserved);
    let excess = this.#slots.reduce((sum, slot) => sum + charge(slot), 0) - budgetTokens;
    const idle = this.#slots.filter((slot) => !slot.busy && slot !== spared && slot.length > 0).sort((a, b) => a.lastUsed - b.lastUsed);
    for (const slot of idle) {
      if (excess <= 0) return;
      const before = slot.length;
      this.#shrink(slot, Math.floor(Math.max(0, slot.length - excess) / blockTokens));
      excess -= before - slot.length;
    }
  }

  /** Keeps the first `blocks` blocks of a slot; the others go to host memory. */
  #shrink(slot: Slot, blocks: number): void {
    if (slot.keys.length > blocks) this.#copyToHost(slot, blocks, slot.keys.length);
    this.#truncate(slot, blocks);
  }

  #truncate(slot: Slot, blocks: number): void {
    const length = blocks * this.#options.blockTokens;
    if (slot.length > length) this.#options.context.truncate(slot.id, length);
    slot.length = Math.min(slot.length, length);
    const lost: string[] = [];
    for (const key of slot.keys.splice(blocks)) {
      const holders = (this.#holders.get(key) ?? 1) - 1;
      if (holders > 0) this.#holders.set(key, holders);
      else if (this.#holders.delete(key)) lost.push(key);
    }
    if (lost.length > 0) this.#options.emit({ type: 'removed', tier: 'hbm', keys: lost });
  }

  #gain(slot: Slot, keys: readonly string[]): void {
    const fresh: string[] = [];
    for (const key of keys) {
      slot.keys.push(key);
      const holders = this.#holders.get(key) ?? 0;
      this.#holders.set(key, holders + 1);
      if (holders === 0) fresh.push(key);
    }
    if (fresh.length > 0) this.#options.emit({ type: 'stored', tier: 'hbm', keys: fresh });
  }

  /** Leading blocks of `from`…`to` that host memory holds afterwards. */
  #copyToHost(slot: Slot, from: number, to: number): number {
    const { host, blockTokens } = this.#options;
    if (host.capacityBytes < this.bytesPerBlock || to <= from) return 0;
    const tokens = slot.tokens.subarray(from * blockTokens, to * blockTokens);
    const chain = { keys: slot.keys.slice(from, to), parent: slot.keys[from - 1] ?? null, tokens, tenant: slot.tenant };
    return this.#hostFrames.putChain(chain, (targets, missing) => this.#cut(slot, from + missing, to, targets));
  }
}

function sameBlock(block: KvBlock, tokens: Int32Array, at: number): boolean {
  return block.tokens.every((token, i) => token === tokens[at + i]);
}
